package websms

import "github.com/caddy-websms/websms/internal/risk"

// risks returns what works, and may not be what its owner wants: the same
// list that a load logs.
func (p *patient) risks() (found []finding) {
	add := func(check string, list []risk.Risk) {
		for _, r := range list {
			found = append(found, finding{check, risky, r.Text, r.Do})
		}
	}
	add("account", p.app.risks())
	add("store", p.app.storeRisks())
	add("admin endpoint", adminRisks(&p.admin))
	for _, h := range p.webhooks {
		add("webhook", h.handler.risks(&h.at))
	}
	for _, g := range p.gates {
		name := "gate"
		if len(p.gates) > 1 && len(g.at.Hosts) > 0 {
			name += " of " + g.at.Hosts[0]
		}
		add(name, append(g.handler.optionRisks(), g.handler.placeRisks(&g.at)...))
	}
	if found == nil {
		found = []finding{{"risks", well, "none that this command knows of", ""}}
	}
	return found
}
