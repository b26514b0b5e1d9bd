package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-websms/websms/internal/operator"
)

// checkConfiguration loads the configuration as "caddy validate" does, and starts
// nothing of it. It opens no log file of the configuration, because such a file
// may belong to another user.
func (file *configFile) checkConfiguration() finding {
	const check = "configuration"
	var config caddy.Config
	if err := json.Unmarshal(file.text, &config); err != nil {
		return finding{check, stateFailed, err.Error(), "correct " + file.name}
	}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: zapcore.FatalLevel.CapitalString()}},
	}}
	if err := caddy.Validate(&config); err != nil {
		return finding{check, stateFailed, err.Error(), "correct " + file.name + ", or set what it asks for where this command runs"}
	}
	what := count(len(file.Gates), "gate") + ", " + count(len(file.Webhooks), "webhook")
	return finding{check, stateOK, file.name + " loads: " + what, ""}
}

// count returns a number with its noun, such as 2 gates.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// storeTime is how long the doctor waits for the store.
const storeTime = 5 * time.Second

// checkStore opens the store and asks it how many challenges are live. It does not
// open a store inside the running Caddy.
func (file *configFile) checkStore(ctx context.Context) finding {
	if file.Store.Open == nil {
		return finding{"store", stateOK, "memory: the running Caddy keeps the challenges", ""}
	}
	check := "store " + file.Store.Kind
	store, release, err := file.Store.Open(ctx)
	if err != nil {
		return finding{check, stateFailed, err.Error(), "correct the block store"}
	}
	defer release()
	for deadline := time.Now().Add(storeTime); ; time.Sleep(100 * time.Millisecond) {
		live, err := store.Live(ctx, time.Now().Truncate(time.Microsecond))
		if err == nil {
			return finding{check, stateOK, fmt.Sprintf("answers; %s live", count(live, "challenge")), ""}
		}
		if time.Now().After(deadline) {
			return finding{check, stateFailed, err.Error(),
				"check that it runs, that address, user, password and tls are right, and that this machine can reach it; " +
					"until then sessions work, and no code is sent"}
		}
	}
}

// checkRunning asks the running Caddy for its status.
func (file *configFile) checkRunning(address string) finding {
	const check = "running Caddy"
	if file.Admin.Disabled && address == "" {
		return finding{check, stateSkipped, "its admin endpoint is off",
			"without it only the commands doctor and send work, and nobody can revoke sessions"}
	}
	if address == "" {
		address = file.Admin.Listen
	}
	if address == "" {
		address = caddy.DefaultAdminListen
	}
	var s operator.Status
	err := operator.AskAt(address, http.MethodGet, operator.StatusPath, nil, &s)
	if operator.ExitCode(err) == operator.ExitNothing {
		return finding{check, stateFailed, "runs another configuration, without a gate", "reload it: caddy reload --config " + file.name}
	}
	if err != nil {
		return finding{check, stateSkipped, err.Error(), "start it, or name its admin endpoint with --address"}
	}
	for _, e := range s.Engines {
		switch {
		case !e.Store.Up:
			return finding{check, stateFailed, "its store does not answer: " + e.Store.Error,
				"bring the store back, and Caddy continues by itself; until then sessions work, and no code is sent"}
		case !e.KeysReady:
			return finding{check, stateFailed, "does not know its keys yet, so nobody gets in",
				"bring the store back; Caddy then continues by itself"}
		case e.LastError != nil && time.Since(e.LastError.At) < time.Hour:
			return finding{check, stateRisk, fmt.Sprintf("runs; WebSMS returned an error within the last hour: %s", e.LastError.Message),
				"caddy websms status shows more"}
		}
	}
	return finding{check, stateOK, "runs, and its store answers", ""}
}
