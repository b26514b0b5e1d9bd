//go:build !linux

package process

import "os/exec"

// dieWithParent does nothing on systems without this feature.
func dieWithParent(*exec.Cmd) {}
