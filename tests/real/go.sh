#!/bin/bash
# Go with cgo: goroutines that its scheduler preempts by signals, calls into C and back, sockets, processes, a handler.
# needs: go golang-go
# needs: gcc gcc
# patches: /go_program
# timeout: 120
exec 2>&1
cat > a.go <<'G'
package main

/*
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
extern long callBack(long);
static long there_and_back(long n) { return n ? callBack(n - 1) + (syscall(SYS_lseek, -1, n, 0) == -1 && errno == EBADF) : 0; }
*/
import "C"
import ("fmt"; "io"; "net"; "os"; "os/exec"; "os/signal"; "runtime"; "sync"; "syscall"; "time")

//export callBack
func callBack(n C.long) C.long { return C.there_and_back(n) }

func main() {
	// Loops without a call in them: only a signal takes the processor from them.
	var stop [4]bool
	spun := make(chan int, 4)
	for i := range stop { go func(i int) { n := 0; for !stop[i] { n++; if n%1000000 == 0 { stop[i] = n >= 20000000 } }; spun <- 1 }(i) }
	var wait sync.WaitGroup
	sums := make([]int, 50)
	for i := range sums { wait.Add(1); go func(i int) { defer wait.Done(); for j := 0; j < 200; j++ { if syscall.Dup2(-1, -1) == syscall.EBADF { sums[i]++ }; if j%50 == 0 { runtime.Gosched() } } }(i) }
	wait.Wait()
	total := 0
	for _, s := range sums { total += s }
	fmt.Println("calls", total)
	deep := make(chan int)
	for i := 0; i < 8; i++ { go func() { n := 0; for j := 0; j < 100; j++ { n += int(C.there_and_back(20)) }; deep <- n }() }
	for i := 0; i < 8; i++ { fmt.Print(<-deep, " ") }
	for i := 0; i < 4; i++ { fmt.Print(<-spun, " ") }
	fmt.Println()
	server, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() { for { c, err := server.Accept(); if err != nil { return }; go func() { io.Copy(c, c); c.Close() }() } }()
	for i := 0; i < 20; i++ { c, _ := net.Dial("tcp", server.Addr().String()); fmt.Fprintf(c, "hello %d", i); c.(*net.TCPConn).CloseWrite(); all, _ := io.ReadAll(c); fmt.Print(len(all), " "); c.Close() }
	fmt.Println()
	for i := 0; i < 10; i++ { out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf("echo child %d; exit %d", i, i)).Output(); fmt.Print(len(out), " ", err, "; ") }
	fmt.Println()
	got := make(chan os.Signal, 100)
	signal.Notify(got, syscall.SIGUSR1)
	for i := 0; i < 20; i++ { syscall.Kill(os.Getpid(), syscall.SIGUSR1); <-got }
	func() { defer func() { fmt.Println("recovered:", recover()) }(); var p *int; *p = 1 }()
	timer := time.After(50 * time.Millisecond)
	garbage := [][]byte{}
	for ended := false; !ended; { select { case <-timer: ended = true; default: garbage = append(garbage, make([]byte, 10000)); if len(garbage) > 100 { garbage = nil } } }
	locked := make(chan bool)
	for i := 0; i < 20; i++ { go func() { runtime.LockOSThread(); syscall.Getppid(); locked <- true }() } // its thread ends
	for i := 0; i < 20; i++ { <-locked }
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
G
# The compiler itself needs no library of ours to take long.
env -u LD_PRELOAD GOCACHE=$PWD/cache GOFLAGS=-mod=mod GO111MODULE=off CGO_ENABLED=1 go build -o go_program a.go; echo $?
for i in 1 2 3; do ./go_program; echo $?; done
