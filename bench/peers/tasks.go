// The measurements of bench/tasks.c in Go, on one processor: the median of short runs, as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"
)

func yield(n int) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		for i := 0; i < n; i++ {
			runtime.Gosched()
		}
		wg.Done()
	}()
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
	wg.Wait()
}

func spawnJoin(n int) {
	done := make(chan struct{})
	for i := 0; i < n; i++ {
		go func() { done <- struct{}{} }()
		<-done
	}
}

func group(n int) {
	for ; n >= 100; n -= 100 {
		var wg sync.WaitGroup
		wg.Add(100)
		for i := 0; i < 100; i++ {
			go wg.Done()
		}
		wg.Wait()
	}
}

func flow(n int, c chan uint32) {
	go func() {
		for i := 0; i < n; i++ {
			c <- uint32(i)
		}
	}()
	for i := 0; i < n; i++ {
		<-c
	}
}

func selectFour(n int) {
	var c [4]chan uint32
	for i := range c {
		c[i] = make(chan uint32, 1)
	}
	for i := 0; i < n; i++ {
		c[3] <- uint32(i)
		select {
		case <-c[0]:
		case <-c[1]:
		case <-c[2]:
		case <-c[3]:
		}
	}
}

func mutex(n int) {
	var m sync.Mutex
	for i := 0; i < n; i++ {
		m.Lock()
		m.Unlock() //nolint:staticcheck // this is what is measured
	}
}

func median(runs, n, count int, run func(int)) float64 {
	run(n / 10)
	ns := make([]float64, runs)
	for i := range ns {
		begin := time.Now()
		run(n)
		ns[i] = float64(time.Since(begin).Nanoseconds()) / float64(n) / float64(count)
	}
	sort.Float64s(ns)
	return ns[runs/2]
}

func main() {
	runs := 31
	if len(os.Args) > 1 {
		runs, _ = strconv.Atoi(os.Args[1])
	}
	runtime.GOMAXPROCS(1)
	result := map[string]float64{
		"yield":                   median(runs, 200000, 2, yield),
		"spawn+join":              median(runs, 50000, 1, spawnJoin),
		"spawn 100, wait for all": median(runs, 50000, 1, group),
		"channel of 128: send+recv": median(runs, 200000, 1,
			func(n int) { flow(n, make(chan uint32, 128)) }),
		"channel of 0: send+recv": median(runs, 100000, 1,
			func(n int) { flow(n, make(chan uint32)) }),
		"select over 4, the last ready": median(runs, 100000, 1, selectFour),
		"lock+unlock":                   median(runs, 500000, 1, mutex),
	}
	text, err := json.Marshal(result)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
