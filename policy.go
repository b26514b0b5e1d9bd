package websms

import (
	"fmt"
	"os"
	"time"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
)

// scope returns the name that the gate's limits count under: its realm. A gate without a
// realm that is behind a first factor has a scope of its own. So strangers at the other
// gates without a realm do not use up its limits.
func (g *Gate) scope() string {
	if g.Realm == "" && g.SecondFactor != nil {
		return scopeSecondFactor
	}
	return g.Realm
}

// scopeSecondFactor is a scope that no realm can have, because a realm holds no NUL.
const scopeSecondFactor = "\x00second factor"

// challengePolicy returns the gate's options for the engine, with the defaults.
func (g *Gate) challengePolicy() otp.Policy {
	p := otp.Policy{
		Scope: g.scope(), Length: 6, TTL: 5 * time.Minute, Attempts: 5, Remote: g.Code.Source == "websms",
		Company: g.Company, Comment: g.Comment, Cooldown: 30 * time.Second,
		PerNumber: rates(g.Limits.PerNumber, otp.Rate{Count: 3, Window: 10 * time.Minute}, otp.Rate{Count: 10, Window: 24 * time.Hour}),
		PerIP:     rates(g.Limits.PerIP, otp.Rate{Count: 10, Window: 10 * time.Minute}, otp.Rate{Count: 50, Window: 24 * time.Hour}),
		Budget:    rates(g.Limits.Budget, otp.Rate{Count: 500, Window: time.Hour}),
		Lockout:   g.Limits.lockout(),
	}
	if g.Code.Length != 0 {
		p.Length = g.Code.Length
	}
	if g.Code.TTL != 0 {
		p.TTL = time.Duration(g.Code.TTL)
	}
	if g.Code.Attempts != 0 {
		p.Attempts = g.Code.Attempts
	}
	if c := g.Limits.Cooldown; c != nil {
		p.Cooldown = time.Duration(*c)
	}
	return p
}

// numberPolicy returns the policy of the gate's numbers. It reads AllowFile.
func (g *Gate) numberPolicy() (*number.Policy, error) {
	policy, err := number.NewPolicy(g.Numbers.countries())
	if err != nil {
		return nil, fmt.Errorf("numbers countries: %w", err)
	}
	for _, input := range g.Numbers.Allow { // no error: check has read the numbers already
		if err := policy.Allow(input); err != nil {
			return nil, fmt.Errorf("numbers allow: %w", err)
		}
	}
	if name := g.Numbers.AllowFile; name != "" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("numbers allow_file: %w", err)
		}
		defer file.Close()
		if err := policy.AllowFrom(file); err != nil {
			return nil, fmt.Errorf("numbers allow_file %s: %w", name, err)
		}
	}
	return policy, nil
}
