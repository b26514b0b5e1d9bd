package process

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the program when the thread that started it
// ends (PR_SET_PDEATHSIG, prctl(2)). Go keeps its threads for as long as it
// runs, but those that a goroutine locked.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
