package procs

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// launcher starts processes from one thread that lives as long as they do. The kernel kills them when
// that thread ends (Pdeathsig), so they do not outlive us even when we are killed ourselves.
type launcher struct {
	jobs chan job
	once *sync.Once
}

type job struct {
	cmd  *exec.Cmd
	done chan error
}

func newLauncher() launcher {
	l := launcher{jobs: make(chan job), once: new(sync.Once)}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for j := range l.jobs {
			j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
			j.done <- j.cmd.Start()
		}
	}()
	return l
}

func (l launcher) start(cmd *exec.Cmd) error {
	j := job{cmd: cmd, done: make(chan error, 1)}
	l.jobs <- j
	return <-j.done
}

func (l launcher) close() { l.once.Do(func() { close(l.jobs) }) }

// Ports are taken below the range from which the kernel takes those of outgoing connections, so that a
// restarted member finds its own still free. Programs that run side by side mostly draw from different parts of it.
const lowestPort, highestPort, partOfPorts = 20000, 32000, 1500

var firstPort = lowestPort + os.Getpid()%((highestPort-lowestPort)/partOfPorts)*partOfPorts //nolint:gochecknoglobals // of the process

// freePorts finds n ports that are free and not taken, and takes them.
func freePorts(n int, taken map[int]bool) ([]int, error) {
	var ports []int
	for range 100 * n {
		p := firstPort + rand.IntN(partOfPorts) //nolint:gosec // must differ from run to run, not be secret
		if taken[p] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		_ = l.Close()
		taken[p] = true
		if ports = append(ports, p); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("procs: found %d of %d free ports", len(ports), n)
}
