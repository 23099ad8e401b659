package main

import (
	"flag"
	"fmt"
	"io"
	"runtime"
)

const usageLine = `usage: witan [--name=value …]; witan --help lists the settings`

// claimedVersion is the etcd whose v2 API we speak. Clients and test harnesses
// choose what to try by it (contract §4.4).
const (
	claimedVersion = "2.3.8"
	clusterVersion = "2.3"
)

// writeVersion prints what etcd prints, since harnesses parse the first line,
// and our own version after it.
func writeVersion(w io.Writer) {
	fmt.Fprintf(w, "etcd Version: %s\n", claimedVersion)
	fmt.Fprintf(w, "Git SHA: %s\n", commit)
	fmt.Fprintf(w, "Go Version: %s\n", runtime.Version())
	fmt.Fprintf(w, "Go OS/Arch: %s/%s\n", runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "Witan Version: %s\n", version)
}

// writeHelp prints every flag that does something, by section.
func writeHelp(w io.Writer) {
	c := defaultConfig()
	t := newFlagTable(&c)
	fmt.Fprint(w, `witan, a replicated key-value store that speaks etcd's v2 API.

usage: witan [--name=value …]
       witan restore --from FILE [--name=value …]    a member's data of a backup
       witan verify PATH                             check a backup or data directory

Flags may have one dash or two. Each can also be set as WITAN_NAME or ETCD_NAME
(capitals, "_" for "-"), or in the YAML file that --config-file names. A flag
wins over WITAN_NAME, that over ETCD_NAME, that over the file: unlike etcd, a
file adds to the other settings and does not replace them. --print-config shows
what came of it. Other flags of etcd are accepted; the log says which have no
effect.
`)
	section := ""
	for _, k := range t.known {
		if k.section == "" {
			continue // accepted, but nothing to recommend
		}
		if k.section != section {
			section = k.section
			fmt.Fprintf(w, "\n%s:\n", section)
		}
		f := t.set.Lookup(k.name)
		fmt.Fprintf(w, "  --%-28s %s%s\n", f.Name, f.Usage, defaultText(f))
	}
}

func defaultText(f *flag.Flag) string {
	switch f.DefValue {
	case "", "false":
		return ""
	}
	return " (default " + f.DefValue + ")"
}
