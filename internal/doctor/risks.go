package doctor

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

// risks returns the risks of the configuration. A load logs the same list.
func (file *configFile) risks() (found []finding) {
	add := func(check string, list []risk.Risk) {
		for _, r := range list {
			found = append(found, finding{check, stateRisk, r.Text, r.Do})
		}
	}
	add("account", file.Account.Risks())
	add("store", file.Store.Risks())
	add("admin endpoint", adminRisks(&file.Admin))
	for _, h := range file.Webhooks {
		add("webhook", h.Risks())
	}
	for _, g := range file.Gates {
		name := "gate"
		if len(file.Gates) > 1 && len(g.At.Hosts) > 0 {
			name += " of " + g.At.Hosts[0]
		}
		add(name, g.Risks())
	}
	if found == nil {
		found = []finding{{"risks", stateOK, "none found", ""}}
	}
	return found
}

// adminRisks returns the risks of Caddy's admin endpoint.
func adminRisks(admin *caddy.AdminConfig) []risk.Risk {
	if admin.Disabled || admin.Listen == "" {
		return nil
	}
	if a, err := caddy.ParseNetworkAddress(admin.Listen); err == nil && !a.IsUnixNetwork() && !routes.IsLoopback(a.Host) {
		return []risk.Risk{{
			Text: "listens for other machines too: anybody who reaches it can read and change everything",
			Do:   "listen on localhost, or on a Unix socket",
		}}
	}
	return nil
}
