package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc, the same on all of Linux.
const clockTick = 10 * time.Millisecond

// memory is what a process has of its own and maps from files, bytes.
type memory struct {
	RSS  int64 `json:"rss"`
	Anon int64 `json:"anon"` // the part of RSS that is not pages of files
}

// processCPU returns the user and system time that a process has used.
func processCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseProcessCPU(text)
}

func parseProcessCPU(stat []byte) (time.Duration, error) {
	// The second field is the name in parentheses, which may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 14 - 3, 15 - 3 // as proc(5) numbers them, less the two before
	if len(fields) <= system {
		return 0, errors.New("stat of a process is too short")
	}
	u, err := strconv.ParseInt(string(fields[user]), 10, 64)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseInt(string(fields[system]), 10, 64)
	return time.Duration(u+s) * clockTick, err
}

// processMemory returns the memory that a process holds now.
func processMemory(pid int) (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	return parseProcessMemory(string(text))
}

func parseProcessMemory(status string) (m memory, err error) {
	found := 0
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		var into *int64
		switch name {
		case "VmRSS":
			into = &m.RSS
		case "RssAnon":
			into = &m.Anon
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, err
		}
		*into = kib << 10
		found++
	}
	if found != 2 {
		return m, errors.New("status of a process does not tell its memory")
	}
	return m, nil
}

// machineTimes are CPU times of the whole machine since it started.
type machineTimes struct {
	busy   time.Duration // used by anybody
	stolen time.Duration // withheld by the host it runs on
}

func machineCPU() (machineTimes, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTimes{}, err
	}
	return parseMachineCPU(string(text))
}

func parseMachineCPU(stat string) (machineTimes, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal; what follows is counted in user.
	if len(fields) < 9 || fields[0] != "cpu" {
		return machineTimes{}, errors.New("/proc/stat does not begin with the CPU")
	}
	var m machineTimes
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return machineTimes{}, err
		}
		switch used := time.Duration(n) * clockTick; i {
		case 3, 4: // idle
		case 7:
			m.stolen += used
		default:
			m.busy += used
		}
	}
	return m, nil
}
