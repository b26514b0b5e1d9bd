package process

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the program when the thread that started it ends
// (PR_SET_PDEATHSIG, prctl(2)). Go keeps its threads until the process ends, except threads that
// are locked to a goroutine.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
