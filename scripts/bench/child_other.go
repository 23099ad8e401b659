//go:build !linux

package main

import "syscall"

// childAttributes returns nothing special: only Linux ends the children of a
// process that was killed.
func childAttributes() *syscall.SysProcAttr { return nil }
