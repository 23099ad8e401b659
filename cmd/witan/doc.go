// Command witan runs one member of a witan cluster.
//
// It takes etcd's flags (with one dash or two) and ETCD_* variables, so that
// the unit files, compose files and test harnesses people have keep working;
// `witan --help` lists them. Everything about configuration is in this
// package: the packages below get structs.
//
//	main.go         the process: signals, exit status
//	run.go          one run: configuration, checks, start, wait, stop
//	program.go      the parts of a member, opened and closed in order
//	config.go       the settings and where they come from
//	flags.go        the flags that do something
//	ignored.go      etcd's flags that do not
//	environment.go  settings from variables
//	file.go         settings from a configuration file
//	show.go         --print-config
//	nearest.go      what somebody may have meant
//	validate.go     which settings make sense together
//	urls.go         URL lists, the initial cluster
//	backup.go       scheduled backups of a running member
//	restore.go      witan restore
//	verify.go       witan verify
//	discovery.go    where the initial cluster comes from when it is not listed
package main
