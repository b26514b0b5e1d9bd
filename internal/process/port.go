package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from a range below the one that systems take the ports of
// outgoing connections from (from 32768 on Linux, from 49152 by RFC 6335): so
// nobody is given the port of a server that is down for a moment, and no client
// that dials it there connects to itself.
const (
	firstPort = 10000
	lastPort  = 22767
)

// given are the ports that this program was given before.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// FreePort returns a TCP port of the loopback interface that nobody listens on,
// and none that it has returned before. Nobody listens on the ports that are
// above it by one of the offsets either; those are at most 10000. Another
// program may take it before it is used.
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
