//go:build !unix

package store

import "os"

// lockFile leaves it to Badger to lock its directory.
func lockFile(*os.File) error { return nil }
