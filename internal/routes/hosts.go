package routes

import (
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// narrowed returns the hosts that a route takes, within those of the route around it. A
// route without a matcher for hosts takes those of the route around it.
func narrowed(outer []string, sets []setView) []string {
	var hosts []string
	for _, set := range sets {
		for _, m := range set {
			if m.name == "host" {
				hosts = append(hosts, m.values...)
			}
		}
	}
	if hosts == nil {
		return outer
	}
	for i, host := range hosts {
		hosts[i] = strings.ToLower(strings.TrimSuffix(host, "."))
		if ascii, err := idna.ToASCII(hosts[i]); err == nil {
			hosts[i] = ascii
		}
	}
	return hosts
}

// eachNamesHosts reports whether each matcher set of a route asks for hosts.
func eachNamesHosts(sets []setView) bool {
	return len(sets) > 0 && !slices.ContainsFunc(sets, func(set setView) bool {
		return !slices.ContainsFunc(set, func(m matcherView) bool { return m.name == "host" })
	})
}

// Outside returns the first host of the handler that is not the domain and not below it,
// or "". A host with a wildcard is outside if one of its hosts is. A host with a
// placeholder never is.
func (p *Place) Outside(domain string) string {
	want := strings.Split(domain, ".")
	for _, host := range p.scope {
		if host == "*" || strings.Contains(host, "{") {
			continue
		}
		labels := strings.Split(host, ".")
		if len(labels) < len(want) || !slices.Equal(labels[len(labels)-len(want):], want) {
			return host
		}
	}
	return ""
}

// SameHost returns a host that both handlers serve, or "". It compares the hosts as the
// routes name them: a wildcard is the same as an equal wildcard alone.
func (p *Place) SameHost(other *Place) string {
	for _, host := range p.scope {
		if slices.Contains(other.scope, host) {
			return host
		}
	}
	return ""
}

// AnyHost reports whether no route around the handler names a host.
func (p *Place) AnyHost() bool { return len(p.scope) == 0 }

// Covers reports whether the handler serves every host of other: no route around it
// names a host, or each host is among its own or below a wildcard of its own.
func (p *Place) Covers(other *Place) bool {
	if p.AnyHost() {
		return true
	}
	if other.AnyHost() {
		return false
	}
	return !slices.ContainsFunc(other.scope, func(host string) bool {
		_, parent, _ := strings.Cut(host, ".")
		return !slices.Contains(p.scope, host) && !slices.Contains(p.scope, "*."+parent)
	})
}
