// Publishes a message to a room and prints every message of that room and others, or of all rooms that match a pattern.
// Usage: client URL ROOM [ROOM or PATTERN...]
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Frame is a message, or a gap where messages are gone.
type Frame struct {
	Type, Room, From, Text string
	JSON                   json.RawMessage
	Offset                 uint64
	Count                  *uint64
}

// publish returns when text is stored. Its key makes the server store it once, after any number of attempts.
func publish(api, room, text string) error {
	target := api + "/rooms/" + url.PathEscape(room) + "/messages"
	key := make([]byte, 16)
	rand.Read(key)
	body, _ := json.Marshal(map[string]string{"text": text, "from": "go", "key": fmt.Sprintf("%x", key)})
	for {
		answer, err := http.Post(target, "application/json", strings.NewReader(string(body)))
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

// follow calls handle with every message once and in order, over any number of disconnects.
func follow(api string, rooms []string, handle func(Frame)) {
	query := url.Values{"after": {"0"}, "room": rooms}.Encode()
	position := "" // EPOCH:OFFSET of the last message received, which is the position in all rooms
	for ; ; time.Sleep(time.Second) {
		request, _ := http.NewRequest("GET", api+"/stream?"+query, nil)
		request.Header.Set("accept", "application/x-ndjson")
		if position != "" {
			request.Header.Set("last-event-id", position)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		epoch, _, _ := strings.Cut(answer.Header.Get("last-event-id"), ":")
		lines := bufio.NewReader(answer.Body)
		for {
			// An incomplete line is an error: the next connection receives the line again.
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			var frame Frame
			// An empty line is a heartbeat.
			if json.Unmarshal(line, &frame) != nil {
				continue
			}
			if frame.Type == "message" {
				position = fmt.Sprintf("%s:%d", epoch, frame.Offset)
			}
			handle(frame)
		}
		answer.Body.Close()
	}
}

func main() {
	api, rooms := os.Args[1]+"/api/v1", os.Args[2:]
	if err := publish(api, rooms[0], "hello from Go"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	follow(api, rooms, func(frame Frame) {
		switch {
		case frame.Type == "message":
			fmt.Printf("%s: %s: %s%s\n", frame.Room, frame.From, frame.Text, frame.JSON)
		case frame.Type == "gap" && frame.Count != nil:
			fmt.Printf("%d messages are gone\n", *frame.Count)
		case frame.Type == "gap":
			fmt.Println("some messages are gone")
		}
	})
}
