package main

import "syscall"

// childAttributes makes the kernel end a server when this program is killed
// and can no longer do it itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
