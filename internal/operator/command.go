// Package operator has the requests and answers of the admin endpoint, and the commands
// that call it: `caddy websms status`, `challenges`, `revoke`, `unlock` and
// `recovery-code`.
//
// wire.go has the JSON form of requests and answers, for both sides. The
// admin endpoint reads requests with ReadRequest, and returns errors of Error. The
// commands send requests with AskAt, and end with one of the exit codes. Errors
// and output of a command hold no secret, and repeat no number.
package operator

import (
	"errors"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Command returns the command `caddy websms`, with the subcommands that ask the
// admin endpoint. Each call of others returns more subcommands, which are new. The
// prefix is the default prefix of a gate's pages.
func Command(prefix string, others func() []*cobra.Command) caddycmd.Command {
	return caddycmd.Command{
		Name:  "websms",
		Usage: "<command>",
		Short: "Checks and manages the SMS gate",
		Long: `
Checks and manages the SMS gate of this machine.

    caddy websms doctor             finds what is wrong with the configuration,
                                    the account, the store and the webhook
    caddy websms send 021234567     sends one real test code
    caddy websms status             shows the state of the running gates
    caddy websms challenges 021…    shows the codes that a number waits for
    caddy websms revoke --user bob  ends sessions
    caddy websms unlock 021234567   forgets the wrong codes of a number
    caddy websms recovery-code …    makes a code that lets one person in once,
                                    without an SMS

doctor and send read a configuration, as "caddy run" does. All other commands
ask the running Caddy at its admin endpoint. Anybody who can reach that endpoint
can do what they do.

Write a number as people in its country write it (--country names the country)
or in E.164, such as +6421234567. With "-" in its place the command reads the
number from standard input, so that no list of processes shows it.

Exit codes: 0 done, or all is well; 1 refused, failed, or something is wrong;
2 wrong usage; 3 Caddy's admin endpoint does not answer; 4 nothing was found.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				return fail(cmd, Exitf(ExitUsage, "there is no command %q: see caddy websms --help", args[0]))
			}
			cmd.AddCommand(others()...)
			cmd.AddCommand(statusCommand(), challengesCommand(), revokeCommand(), unlockCommand(), recoveryCommand(prefix))
		},
	}
}

// The exit codes of the commands. Scripts rely on them.
const (
	ExitFailed  = 1 // refused, failed, or something is wrong
	ExitUsage   = 2 // wrong usage
	ExitNoCaddy = 3 // Caddy's admin endpoint does not answer
	ExitNothing = 4 // nothing was found
)

// exit is an error with an exit code.
type exit struct {
	code int
	err  error
}

// Error returns the text of the error.
func (e *exit) Error() string { return e.err.Error() }

// Unwrap returns the error without its exit code.
func (e *exit) Unwrap() error { return e.err }

// Exitf returns an error with an exit code. The text is made as fmt.Errorf does.
func Exitf(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

// fail makes Caddy log an error on standard error, as for its own commands, and end with
// the exit code of the error.
func fail(cmd *cobra.Command, err error) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
		return ExitCode(err), err
	})(cmd, nil)
}

// ExitCode returns the exit code of an error: that of Exitf, or else ExitFailed.
func ExitCode(err error) int {
	if e := (*exit)(nil); errors.As(err, &e) {
		return e.code
	}
	return ExitFailed
}

// Subcommand returns a command that runs do, and has the flag --json. An error of do
// should be one of Exitf.
func Subcommand(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(long), SilenceUsage: true,
		Args: func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return fail(cmd, Exitf(ExitUsage, "%v: see caddy websms %s --help", err, cmd.Name()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := do(cmd, args); err != nil {
				return fail(cmd, err)
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(cmd, Exitf(ExitUsage, "%v: see caddy websms %s --help", err, cmd.Name()))
	})
	cmd.Flags().Bool("json", false, "Print JSON only, for programs")
	return cmd
}
