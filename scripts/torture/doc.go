// Torture runs real clusters under load and faults and checks what clients saw.
//
// It is black-box: it starts binaries, speaks HTTP, sends signals, and imports nothing of the server, so that the
// same runs judge witan and etcd 3.4. README.md has the scenarios, reliability.md the reasons.
package main
