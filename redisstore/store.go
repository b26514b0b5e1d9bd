package redisstore

import (
	"github.com/caddy-websms/websms/otp"
)

// store is the otp.Store of all processes that share a Redis. Each change of
// several steps is one script in scripts/.
type store struct {
	keys
	node   *node
	wakes  otp.Wakes
	listen *listener
	lives  lives
}

func newStore(n *node, prefix string) *store {
	s := &store{keys: keys{prefix}, node: n}
	s.listen = newListener(n, prefix+wakeChannel, s.wakes.Wake)
	n.tasks.Go(s.run)
	return s
}

// Watch implements otp.Store. The channel also closes for a change that another node
// makes.
func (s *store) Watch(id otp.ID) (<-chan struct{}, func()) {
	changed, stop := s.wakes.Watch(id)
	forget := s.listen.want(id)
	return changed, func() {
		stop()
		forget()
	}
}
