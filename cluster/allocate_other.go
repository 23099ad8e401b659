//go:build !linux

package cluster

import (
	"errors"
	"os"
)

func allocate(*os.File, uint64) error { return errors.ErrUnsupported }
