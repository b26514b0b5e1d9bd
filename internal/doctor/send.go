package doctor

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/number"
)

const sendHelp = `
Sends one real code from the account of the configuration, and prints the answer
of WebSMS. It costs as much as any SMS, unless the configuration has sandbox.
The code opens nothing. The command does not print it: look at the phone.

    caddy websms send 021234567 --config /etc/caddy/Caddyfile

WebSMS reports the delivery to the webhook of the running Caddy. Its logger
websms.dlr logs the report with the message id that this command prints.`

// sendCommand returns `caddy websms send`.
func sendCommand(read Reader) *cobra.Command {
	send := func(cmd *cobra.Command, args []string) error {
		e164, err := operator.ReadNumber(cmd, args[0])
		if err != nil {
			return err
		}
		file, err := read.file(operator.Flag(cmd, "config"), operator.Flag(cmd, "adapter"))
		if err != nil {
			return err
		}
		client, err := file.client(nil)
		if err != nil {
			return err
		}
		defer client.Close()
		company := operator.Flag(cmd, "company")
		if company == "" {
			company = file.company()
		}
		question := "This sends one SMS to " + number.Mask(e164) + ", which is billed. Go on?"
		if file.Account.Sandbox {
			question = "This asks WebSMS's sandbox to take one SMS to " + number.Mask(e164) + ". Go on?"
		}
		if ok, err := confirmed(cmd, question); err != nil || !ok {
			return errors.Join(err, operator.Exitf(operator.ExitFailed, "nothing was sent"))
		}
		return sendOne(cmd, client, e164, company)
	}
	cmd := operator.Subcommand("send <number>", "Sends one real test code", sendHelp, cobra.ExactArgs(1), send)
	operator.WithConfig(cmd)
	operator.WithNumber(cmd)
	cmd.Flags().String("company", "", "Company that the message names (default: that of the first gate)")
	cmd.Flags().BoolP("yes", "y", false, "Send without a question")
	return cmd
}

// sendOne sends a random code and prints the answer of WebSMS.
func sendOne(cmd *cobra.Command, client *connexus.Client, e164, company string) error {
	code, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return err
	}
	began := time.Now()
	receipt, err := client.SendOTP(cmd.Context(), connexus.OTP{
		To: e164, Company: company, Comment: "A test.", Code: fmt.Sprintf("%06d", code),
	})
	if err != nil {
		var failure *connexus.Error
		if errors.As(err, &failure) && failure.MaybeAccepted {
			return operator.Exitf(operator.ExitFailed, "it is not known whether the code was sent: look at the phone: %w", err)
		}
		return operator.Exitf(operator.ExitFailed, "not sent: %w", err)
	}
	took := time.Since(began).Round(time.Millisecond)
	if operator.IsSet(cmd, "json") {
		return operator.PrintJSON(cmd, map[string]any{"message_id": receipt.MessageID, "took_ms": took.Milliseconds()})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "WebSMS took it in %s as message %s. Look at the phone, and for websms.dlr in Caddy's log.\n",
		took, receipt.MessageID)
	return err
}

// confirmed asks the operator a question. Where there is no terminal, it needs the
// flag --yes.
func confirmed(cmd *cobra.Command, question string) (bool, error) {
	if operator.IsSet(cmd, "yes") {
		return true, nil
	}
	if file, ok := cmd.InOrStdin().(*os.File); ok {
		if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return false, operator.Exitf(operator.ExitUsage, "%s: add --yes where there is no terminal", question)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	return strings.EqualFold(strings.TrimSpace(line), "y"), nil
}
