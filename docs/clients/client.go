// Says hello in a room and follows it from its beginning. Only the standard library. client.go URL ROOM
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// Frame is what a stream carries: messages, and gaps where some are gone.
type Frame struct {
	Type, From, Text string
	Offset           uint64
	Count            *uint64
}

// say returns once text is stored; its key makes that once, however often it is tried.
func say(room, text string) error {
	key := make([]byte, 16)
	rand.Read(key)
	body, _ := json.Marshal(map[string]string{"text": text, "from": "go", "key": fmt.Sprintf("%x", key)})
	for {
		answer, err := http.Post(room+"/messages", "application/json", strings.NewReader(string(body)))
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusCreated {
				return nil
			}
			if answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
				return fmt.Errorf("refused: %s", answer.Status)
			}
		}
		time.Sleep(time.Second)
	}
}

// follow calls hear with every message once and in order, over any number of broken connections.
func follow(room string, hear func(Frame)) {
	seen := "" // EPOCH:OFFSET
	for ; ; time.Sleep(time.Second) {
		request, _ := http.NewRequest("GET", room+"/stream?after=0", nil)
		request.Header.Set("accept", "application/x-ndjson")
		if seen != "" {
			request.Header.Set("last-event-id", seen)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		epoch, _, _ := strings.Cut(answer.Header.Get("last-event-id"), ":")
		lines := bufio.NewReader(answer.Body)
		for {
			// A line that is not whole comes with an error; the next try begins before it. No line is too long.
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			var frame Frame
			// An empty line is a sign of life.
			if json.Unmarshal(line, &frame) != nil {
				continue
			}
			if frame.Type == "message" {
				seen = fmt.Sprintf("%s:%d", epoch, frame.Offset)
			}
			hear(frame)
		}
		answer.Body.Close()
	}
}

func main() {
	room := os.Args[1] + "/api/v1/rooms/" + os.Args[2]
	if err := say(room, "hello from Go"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	follow(room, func(frame Frame) {
		switch {
		case frame.Type == "message":
			fmt.Printf("%s: %s\n", frame.From, frame.Text)
		case frame.Type == "gap" && frame.Count != nil:
			fmt.Printf("%d messages are gone\n", *frame.Count)
		case frame.Type == "gap":
			fmt.Println("some messages are gone")
		}
	})
}
