package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// masters is how many masters a Cluster has. Redis Cluster needs at least three.
const masters = 3

// slots is the number of hash slots of a cluster ("Redis cluster specification").
const slots = 16384

// RedisCluster is a Redis Cluster of three masters without replicas.
type RedisCluster struct {
	Nodes []*Redis // in the order of their slots; each has a third of them
}

// Cluster starts a Redis Cluster, and waits until each node reports it as complete. Each
// node gets args, as in Server.
func Cluster(t testing.TB, args ...string) *RedisCluster {
	t.Helper()
	c := new(RedisCluster)
	for range masters {
		c.Nodes = append(c.Nodes, Server(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			// On a busy machine, a slow node must not count as down.
			"--cluster-node-timeout", "15000",
		}, args...)...))
	}
	for i, node := range c.Nodes {
		// Not ADDSLOTSRANGE, which Redis 6.2 lacks.
		command := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / masters; slot < (i+1)*slots/masters; slot++ {
			command = append(command, strconv.Itoa(slot))
		}
		node.Do(command...)
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, node := range c.Nodes[1:] {
		c.Nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(node.port))
	}
	for _, node := range c.Nodes {
		Eventually(t, "the cluster is complete", func() error {
			info, err := node.Try("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if field(info, "cluster_state") != "ok" || field(info, "cluster_known_nodes") != strconv.Itoa(masters) {
				return fmt.Errorf("%s says %v", node.Addr(), info)
			}
			// A node sends published messages only to nodes that it is connected to.
			nodes, err := node.Try("CLUSTER", "NODES")
			if err != nil {
				return err
			}
			if text, _ := nodes.(string); strings.Count(text, " connected ") != masters || strings.Contains(text, "handshake") {
				return fmt.Errorf("%s says %v", node.Addr(), nodes)
			}
			return nil
		})
	}
	return c
}

// Owner returns the node that had the slot of a key when the cluster started.
func (c *RedisCluster) Owner(key string) *Redis {
	slot := c.Slot(key)
	for i, node := range c.Nodes {
		if slot < (i+1)*slots/masters {
			return node
		}
	}
	panic("a cluster has no more slots")
}

// Slot returns the slot of a key.
func (c *RedisCluster) Slot(key string) int {
	return int(c.Nodes[0].Do("CLUSTER", "KEYSLOT", key).(int64))
}

// Move begins to move the slot of a key from its owner to another node, as a reshard
// does. The caller ends the move with stay, which leaves the slot at its owner.
func (c *RedisCluster) Move(key string) (stay func()) {
	slot, from := strconv.Itoa(c.Slot(key)), c.Owner(key)
	to := c.Nodes[0]
	if from == to {
		to = c.Nodes[1]
	}
	name := func(node *Redis) string { return node.Do("CLUSTER", "MYID").(string) }
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", name(from))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", name(to))
	return func() {
		from.Do("CLUSTER", "SETSLOT", slot, "STABLE")
		to.Do("CLUSTER", "SETSLOT", slot, "STABLE")
	}
}

// Addrs returns the addresses of all nodes.
func (c *RedisCluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// Dump returns the data of all nodes, as Redis.Dump does.
func (c *RedisCluster) Dump() []byte {
	var dump []byte
	for _, node := range c.Nodes {
		node.t.Helper()
		dump = append(dump, node.Dump()...)
	}
	return dump
}
