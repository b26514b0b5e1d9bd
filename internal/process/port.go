package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports come from a range below the one for outgoing connections (from 32768 on Linux, from 49152
// by RFC 6335). So no other program gets the port of a server that is down for a moment, and a
// client that dials it there cannot connect to itself.
const (
	firstPort = 10000
	lastPort  = 22767
)

// given holds the ports that FreePort has returned.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// FreePort returns a free TCP port of the loopback interface. It never returns the same port twice.
// The ports at each of the offsets above it are free too; an offset is at most 10000. Another
// program may take the port before it is used.
func FreePort(offsets ...int) (int, error) {
	given.Lock()
	defer given.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if given.ports[port] || !free(port, offsets) {
			continue
		}
		given.ports[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free TCP port on the loopback interface between %d and %d", firstPort, lastPort)
}

func free(port int, offsets []int) bool {
	for _, offset := range append([]int{0}, offsets...) {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+offset)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
