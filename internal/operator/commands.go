package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminCommand returns a command that asks the Caddy that runs.
func adminCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := Subcommand(use, short, long, args, do)
	WithConfig(cmd)
	cmd.Flags().String("address", "", "Address of Caddy's admin endpoint (default: the configuration's, if one is given, else localhost:2019)")
	return cmd
}

// personCommand returns one that asks about somebody, in a realm.
func personCommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := adminCommand(use, short, long, args, do)
	WithNumber(cmd)
	cmd.Flags().String("realm", "", "Realm of the gate, as its option has it; none if it has none")
	return cmd
}

// maxAdminAnswer bounds what is read of an answer, in bytes.
const maxAdminAnswer = 1 << 20

// ask asks Caddy's admin endpoint, and reads the answer into v.
func ask(cmd *cobra.Command, method, path string, body, v any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(Flag(cmd, "address"), nil, Flag(cmd, "config"), Flag(cmd, "adapter"))
	if err != nil {
		return Exitf(ExitUsage, "finding the admin endpoint: %w", err)
	}
	return AskAt(address, method, path, body, v)
}

func AskAt(address, method, path string, body, v any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	res, err := requestTo(address, method, path, reader)
	if err != nil {
		return Exitf(ExitNoCaddy, "the admin endpoint at %s does not answer: is Caddy running, and this its address? %w", address, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAdminAnswer))
	if err != nil {
		return Exitf(ExitNoCaddy, "the admin endpoint at %s broke off: %w", address, err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, v); err != nil {
			return Exitf(ExitFailed, "the answer of %s is not understood: is that Caddy's admin endpoint, of a build with this plugin? %w", address, err)
		}
		return nil
	}
	var failure struct {
		Error string `json:"error"`
	}
	code := ExitFailed
	switch {
	case json.Unmarshal(text, &failure) != nil || failure.Error == "":
		return Exitf(ExitNoCaddy, "%s answers %s: is that Caddy's admin endpoint, of a build with this plugin?", address, res.Status)
	case res.StatusCode == http.StatusNotFound:
		code = ExitNothing
	case res.StatusCode == http.StatusBadRequest:
		code = ExitUsage
	}
	return Exitf(code, "%s", failure.Error)
}

// adminTime bounds how long the admin endpoint may take to answer.
const adminTime = 15 * time.Second

// requestTo sends a request to the admin endpoint, which may be a Unix
// socket. Caddy's own way would keep the status of an answer to itself.
func requestTo(address, method, path string, body io.Reader) (*http.Response, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return nil, errors.New("that is no address of an admin endpoint: give host:port, or unix//path")
	}
	to, origin := parsed.JoinHostPort(0), "http://"+parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		to, _, _ = strings.Cut(parsed.Host, "|") // without its permissions
		origin = "http://127.0.0.1"              // as Caddy has it for a socket
	}
	req, err := http.NewRequest(method, origin+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", origin)
	client := http.Client{Timeout: adminTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, to)
		},
	}}
	return client.Do(req)
}

func statusCommand() *cobra.Command {
	return adminCommand("status", "Shows how the running gates are", `
Shows how the running gates are: whether the store answers, how old the token
is, how many codes are awaited and on their way, how much of the budget is
used, and what WebSMS refused last.

    caddy websms status
    caddy websms status --json | jq '.engines[0].store.up'

It ends with 1 if a store is down or the keys are not known.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
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

func printEngine(w io.Writer, e *EngineStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("WebSMS", "%s%s", e.BaseURL, map[bool]string{true: " (sandbox: nothing is billed)"}[e.Sandbox])
	if e.Token == nil {
		row("token", "none held; the next code asks for one")
	} else {
		row("token", "%s old, until %s", time.Duration(e.Token.AgeSeconds)*time.Second, e.Token.ExpiresAt.Local().Format(time.DateTime))
	}
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

func challengesCommand() *cobra.Command {
	return personCommand("challenges <number>", "Shows which codes a number waits for", `
Shows which codes a number waits for, how each is on its way, and how many count
against its limits.

    caddy websms challenges 021234567
    echo 021234567 | caddy websms challenges - --realm staff

It ends with 4 if there is none.`, cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
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

func revokeCommand() *cobra.Command {
	cmd := personCommand("revoke (--session <id> | --number <number> | --user <name>)", "Ends sessions", `
Ends one session, by the id that the audit log has, or all that a number or a
user has until now. Whoever is meant can sign in again; to keep them out, take
their number off the list as well.

    caddy websms revoke --user bob
    caddy websms revoke --number 021234567 --realm staff`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		req := Request{Session: Flag(cmd, "session"), User: Flag(cmd, "user"), Realm: Flag(cmd, "realm")}
		if written := Flag(cmd, "number"); written != "" {
			var err error
			if req.Number, err = ReadNumber(cmd, written); err != nil {
				return err
			}
		}
		return tellAdmin(cmd, RevokePath, req, "Ended. Whoever it was signs in again at their next request.")
	})
	cmd.Flags().String("session", "", "Id of the session: 32 hexadecimal digits")
	cmd.Flags().String("number", "", "Number whose sessions to end")
	cmd.Flags().String("user", "", "User whose sessions to end")
	return cmd
}

func unlockCommand() *cobra.Command {
	cmd := personCommand("unlock (<number> | --budget)", "Forgets the wrong codes of a number, or what counts against the budget", `
Forgets the wrong codes that were entered for a number, and with them its lock.
With --budget it forgets the codes that count against the budget of a realm: all
of it can be spent again.

    caddy websms unlock 021234567
    caddy websms unlock --budget --realm staff

It ends with 4 if none counted.`, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return cobra.NoArgs(cmd, args)
		}
		return cobra.ExactArgs(1)(cmd, args)
	}, func(cmd *cobra.Command, args []string) error {
		if IsSet(cmd, "budget") {
			return tellAdmin(cmd, UnlockPath, Request{Budget: true, Realm: Flag(cmd, "realm")}, "Unlocked. The whole budget can be spent again.")
		}
		e164, err := ReadNumber(cmd, args[0])
		if err != nil {
			return err
		}
		return tellAdmin(cmd, UnlockPath, Request{Number: e164, Realm: Flag(cmd, "realm")}, "Unlocked. The next code that is asked for is sent, and taken.")
	})
	cmd.Flags().Bool("budget", false, "Forget what counts against the budget, in place of a number's wrong codes")
	return cmd
}

func recoveryCommand(prefix string) *cobra.Command {
	cmd := personCommand("recovery-code (--number <number> | --user <name>)", "Lets one person in without an SMS, once", `
Makes a code that lets one person in without an SMS, once, within ten minutes.
Make sure that it is them, by other means than the phone that fails: whoever
holds the code is let in. It is typed on the page <prefix>/recover, to which
"I have a recovery code" leads.

    caddy websms recovery-code --number 021234567     where people type a number
    caddy websms recovery-code --user bob             with second_factor

Five are made for one person in an hour. That one was made, and that one was
used, is in the audit log.`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		req := Request{User: Flag(cmd, "user"), Realm: Flag(cmd, "realm")}
		if written := Flag(cmd, "number"); written != "" {
			var err error
			if req.Number, err = ReadNumber(cmd, written); err != nil {
				return err
			}
		}
		var made RecoveryCode
		if err := ask(cmd, http.MethodPost, RecoveryPath, req, &made); err != nil {
			return err
		}
		if IsSet(cmd, "json") {
			return PrintJSON(cmd, made)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nFor the page %s/recover of the gate, once, until %s.\n", made.Code, prefix, made.ExpiresAt.Local().Format(time.TimeOnly))
		return err
	})
	cmd.Flags().String("number", "", "Number of the person, where people type theirs")
	cmd.Flags().String("user", "", "Name of the user, with second_factor")
	return cmd
}

// tellAdmin asks for a change, and says that it was made.
func tellAdmin(cmd *cobra.Command, path string, req Request, done string) error {
	var answer map[string]bool
	if err := ask(cmd, http.MethodPost, path, req, &answer); err != nil {
		return err
	}
	if IsSet(cmd, "json") {
		return PrintJSON(cmd, answer)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), done)
	return err
}
