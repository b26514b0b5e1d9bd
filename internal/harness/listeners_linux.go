package harness

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// listening returns how many TCP sockets of this machine listen at a port. It asks
// the kernel by sock_diag(7), which looks at listening sockets only. Where that is
// not to be had it reads /proc/net/tcp, for which the kernel walks the table of all
// connections: that takes some 15 ms.
func listening(port int) int {
	count := 0
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		n, err := diagnosed(family, port)
		if err != nil {
			return listed(port)
		}
		count += n
	}
	return count
}

// diagnosed returns how many sockets of a family listen at a port, by sock_diag(7).
func diagnosed(family byte, port int) (int, error) {
	const (
		protocol = 4     // NETLINK_SOCK_DIAG
		byFamily = 20    // SOCK_DIAG_BY_FAMILY
		listens  = 10    // TCP_LISTEN
		size     = 56    // of struct inet_diag_req_v2
		portAt   = 4     // of the local port in struct inet_diag_msg
		flags    = 0x301 // NLM_F_REQUEST | NLM_F_DUMP
	)
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, err
	}
	defer func() { _ = syscall.Close(fd) }()
	header := syscall.NlMsghdr{Len: syscall.NLMSG_HDRLEN + size, Type: byFamily, Flags: flags}
	question := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&header)), syscall.NLMSG_HDRLEN)...)
	body := make([]byte, size)
	body[0], body[1] = family, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], 1<<listens)
	binary.BigEndian.PutUint16(body[8:], uint16(port))
	if err := syscall.Sendto(fd, append(question, body...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, err
	}
	count, buffer := 0, make([]byte, 1<<16)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return 0, err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return 0, err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return count, nil
			case m.Header.Type != byFamily || len(m.Data) < portAt+2:
				return 0, fmt.Errorf("the kernel answers with a message of type %d", m.Header.Type)
			case int(binary.BigEndian.Uint16(m.Data[portAt:])) == port:
				count++
			}
		}
	}
}

// listed returns how many sockets listen at a port, by proc_pid_net(5).
func listed(port int) int {
	const state = "0A" // it listens
	count := 0
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && fields[3] == state {
				count++
			}
		}
	}
	return count
}
