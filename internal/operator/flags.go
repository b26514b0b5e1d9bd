package operator

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-websms/websms/number"
)

// WithConfig adds the flags that say which configuration to read.
func WithConfig(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Configuration file (default: the Caddyfile of this folder, if there is one)")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter to apply")
}

// WithNumber adds the flag that says how numbers are written.
func WithNumber(cmd *cobra.Command) {
	cmd.Flags().String("country", "NZ", "ISO code of the country whose way of writing numbers is understood")
}

func Flag(cmd *cobra.Command, name string) string {
	value, _ := cmd.Flags().GetString(name) // every name is one that was added
	return value
}

func IsSet(cmd *cobra.Command, name string) bool {
	value, _ := cmd.Flags().GetBool(name)
	return value
}

// ReadNumber returns a number in E.164. The error does not repeat it.
func ReadNumber(cmd *cobra.Command, written string) (string, error) {
	if written == "-" {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 256)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", Exitf(ExitUsage, "reading the number from standard input: %w", err)
		}
		written = strings.TrimSpace(line)
	}
	if IsE164(written) { // also of a country that the library knows nothing of
		return written, nil
	}
	country := strings.ToUpper(Flag(cmd, "country"))
	if !number.KnownRegion(country) {
		return "", Exitf(ExitUsage, "--country %s is no ISO code of a country: give one such as NZ", country)
	}
	n, err := number.Parse(written, []string{country})
	if err != nil {
		return "", Exitf(ExitUsage, "that is no mobile number: write it like %s, or with its country code: %w", number.Example(country), err)
	}
	return n.E164, nil
}

// PrintJSON prints what a program asked for.
func PrintJSON(cmd *cobra.Command, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
	return err
}
