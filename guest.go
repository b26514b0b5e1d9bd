package websms

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/block"
)

// elsewhere has the packages of our guest modules that a plain build leaves out, by the
// ID of the module.
var elsewhere = map[string]string{
	stores + ".redis": "github.com/caddy-websms/websms/redisstore",
}

// guest reads a guest module and its block. option is the option that names the module,
// namespace is the namespace of its ID, and name is the rest of its ID. If the module is
// unknown, the error lists the known ones and ends with hint.
func guest(d *caddyfile.Dispenser, option, namespace, name, hint string) (json.RawMessage, error) {
	id := namespace + "." + name
	if _, err := caddy.GetModule(id); err != nil {
		if err := leftOut(option, namespace, name); err != nil {
			return nil, err
		}
		var built []string
		for _, m := range caddy.GetModules(namespace) {
			built = append(built, m.ID.Name())
		}
		return nil, fmt.Errorf("%s %q is not built into this Caddy, which has: %s; build one that has it, or name another%s",
			option, name, strings.Join(built, ", "), hint)
	}
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return nil, block.Placed(err)
	}
	return caddyconfig.JSONModuleObject(module, "module", name, nil), nil
}

// leftOut returns an error that says how to build a Caddy with one of our guest modules.
// It returns nil if the module is in a plain build, or is not ours.
func leftOut(option, namespace, name string) error {
	pkg, ok := elsewhere[namespace+"."+name]
	if !ok {
		return nil
	}
	return fmt.Errorf("%s %q is not built into this Caddy: build it with xcaddy build --with github.com/caddy-websms/websms --with %s",
		option, name, pkg)
}

// storeError returns the error for a store in JSON that Caddy could not load. err is the
// error of LoadModule.
func storeError(raw json.RawMessage, err error) error {
	var named struct {
		Module string `json:"module"`
	}
	if json.Unmarshal(raw, &named) == nil {
		if _, unknown := caddy.GetModule(stores + "." + named.Module); unknown != nil {
			if missing := leftOut("store", stores, named.Module); missing != nil {
				return missing
			}
		}
	}
	return fmt.Errorf("loading the store: %w", err)
}
