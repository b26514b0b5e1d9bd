package operator

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/connexus"
)

// statusCommand returns `caddy websms status`.
func statusCommand() *cobra.Command {
	return adminCommand("status", "Shows the state of the running gates", `
Shows the state of the running gates: whether the store answers, the age of the
token, the balance of the account, how many codes wait for an answer, how many
are being sent, how much of the budget is used, and the last error of WebSMS.

    caddy websms status
    caddy websms status --json | jq '.engines[0].store.up'

It ends with 1 if a store does not answer or the keys are not known yet.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		var s Status
		if err := ask(cmd, http.MethodGet, StatusPath, nil, &s); err != nil {
			return err
		}
		var err error
		if IsSet(cmd, "json") {
			err = PrintJSON(cmd, s)
		} else {
			for _, e := range s.Engines {
				printEngine(cmd.OutOrStdout(), &e)
			}
		}
		for _, e := range s.Engines {
			if err == nil && (!e.Store.Up || !e.KeysReady) {
				err = Exitf(ExitFailed, "the store %s does not answer, or the keys are not known yet", e.Store.Kind)
			}
		}
		return err
	})
}

// printEngine prints the state of an engine for people, one fact a line.
func printEngine(w io.Writer, e *EngineStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer func() { _ = t.Flush() }() // the output has failed, so an error cannot be printed
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("WebSMS", "%s%s", e.BaseURL, map[bool]string{true: " (sandbox: nothing is billed)"}[e.Sandbox])
	if e.Token == nil {
		row("token", "none held; the next send asks for one")
	} else {
		row("token", "%s old, until %s", time.Duration(e.Token.AgeSeconds)*time.Second, e.Token.ExpiresAt.Local().Format(time.DateTime))
	}
	row("balance", "%s", balanceText(e.Account))
	if e.Store.Up {
		row("store", "%s, answers", e.Store.Kind)
	} else {
		row("store", "%s, DOWN: %s", e.Store.Kind, e.Store.Error)
	}
	if !e.KeysReady {
		row("keys", "NOT KNOWN YET: nobody gets in")
	}
	if e.Capacity > 0 {
		row("challenges", "%d of %d", e.Challenges, e.Capacity)
	} else {
		row("challenges", "%d", e.Challenges)
	}
	row("sends in flight", "%d", e.SendsInFlight)
	for _, g := range e.Gates {
		var used []string
		for _, b := range g.Budget {
			used = append(used, fmt.Sprintf("%d of %s", b.Used, b.Rate))
		}
		realm := g.Realm
		if realm == "" {
			realm = "(the host)"
		}
		row("gate", "realm %s, %s, budget used: %s", realm, strings.ReplaceAll(g.Mode, "_", " "), strings.Join(used, ", "))
	}
	if e.LastError != nil {
		row("last error", "%s, %s: %s", e.LastError.At.Local().Format(time.DateTime), e.LastError.Endpoint, e.LastError.Message)
	}
}

// balanceText describes a balance, such as "12.34 NZD, about 107 messages".
func balanceText(a *AccountStatus) string {
	if a == nil {
		return "not known"
	}
	b := connexus.Balance{Amount: a.Balance, Currency: a.Currency}
	n, ok := b.Messages()
	switch {
	case !ok:
		return b.String()
	case n < LowBalance:
		return fmt.Sprintf("LOW: %s, about %d messages; top the account up at websms.co.nz", b, n)
	}
	return fmt.Sprintf("%s, about %d messages", b, n)
}

// LowBalance is the number of messages below which a balance is low.
const LowBalance = 100

// challengesCommand returns `caddy websms challenges`.
func challengesCommand() *cobra.Command {
	return personCommand("challenges <number>", "Shows the codes that a number waits for", `
Shows the codes that a number waits for, the status of each, and how many codes
count against the limits of the number.

    caddy websms challenges 021234567
    echo 021234567 | caddy websms challenges - --realm staff

It ends with 4 if the number waits for no code.`, cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		e164, err := ReadNumber(cmd, args[0])
		if err != nil {
			return err
		}
		var answer Challenges
		if err := ask(cmd, http.MethodPost, ChallengesPath, Request{Number: e164, Realm: Flag(cmd, "realm")}, &answer); err != nil {
			return err
		}
		if IsSet(cmd, "json") {
			err = PrintJSON(cmd, answer)
		} else {
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, c := range answer.Challenges {
				fmt.Fprintf(t, "%s\t%s\t%d tries left\tuntil %s\n", c.ID, c.Status, c.AttemptsLeft, c.ExpiresAt.Local().Format(time.DateTime))
			}
			for _, s := range answer.Sends {
				fmt.Fprintf(t, "sent\t%d of %s\t\t\n", s.Used, s.Rate)
			}
			err = t.Flush()
		}
		if err == nil && len(answer.Challenges) == 0 {
			return Exitf(ExitNothing, "no code is awaited for this number in this realm")
		}
		return err
	})
}
