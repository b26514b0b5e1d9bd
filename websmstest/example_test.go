package websmstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/websmstest"
)

// exampleTB stands in for a *testing.T in these examples. A Go test does not need it.
type exampleTB struct{ end []func() }

func (r *exampleTB) Helper()            {}
func (r *exampleTB) Cleanup(end func()) { r.end = append(r.end, end) }
func (r *exampleTB) Fatalf(f string, a ...any) {
	fmt.Printf(f+"\n", a...)
	os.Exit(1)
}
func (r *exampleTB) close() {
	for _, end := range r.end {
		end()
	}
}

// demoClient returns a client of a simulator with the default credentials.
func demoClient(sim *websmstest.Server) *connexus.Client {
	c, err := connexus.New(connexus.Config{BaseURL: sim.URL, ClientID: "cid_demo", ClientSecret: "csk_demo"})
	if err != nil {
		panic(err)
	}
	return c
}

// A test sends a code and waits for the SMS. In a Go test, pass its *testing.T.
func ExampleNewServer() {
	t := new(exampleTB)
	defer t.close()
	sim := websmstest.NewServer(t, websmstest.Options{})
	c := demoClient(sim)
	defer c.Close()

	ctx := context.Background()
	if _, err := c.SendOTP(ctx, connexus.OTP{To: "+6421234567", Company: "MyApp", Code: "482174"}); err != nil {
		fmt.Println(err)
		return
	}
	msg, err := sim.WaitMessage(ctx, func(m websmstest.Message) bool { return m.To == "6421234567" })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(msg.Body)
	fmt.Println(msg.Code)
	// Output:
	// 482174 is your MyApp verification code.
	// 482174
}

// The next sends fail, one fault for each.
func ExampleSimulator_Next() {
	t := new(exampleTB)
	defer t.close()
	sim := websmstest.NewServer(t, websmstest.Options{})
	c := demoClient(sim)
	defer c.Close()

	sim.Next(websmstest.InsufficientFunds200(), websmstest.BrokenJSON())
	for range 3 {
		_, err := c.SendOTP(context.Background(), connexus.OTP{To: "+6421234567", Company: "MyApp"})
		var failure *connexus.Error
		if errors.As(err, &failure) {
			fmt.Println(failure.Kind, "maybe accepted:", failure.MaybeAccepted)
		} else {
			fmt.Println("sent:", err == nil)
		}
	}
	fmt.Println("in the inbox:", len(sim.Messages()))
	// Output:
	// funds maybe accepted: false
	// malformed maybe accepted: true
	// sent: true
	// in the inbox: 2
}

// A reply from the phone reaches the webhook. The call returns when the webhook has
// answered.
func ExampleSimulator_Reply() {
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Type, From, Body string }
		if err := json.NewDecoder(r.Body).Decode(&event); err == nil && event.Type == "mo" {
			fmt.Println(event.From, "says", event.Body)
		}
	}))
	defer hook.Close()
	t := new(exampleTB)
	defer t.close()
	sim := websmstest.NewServer(t, websmstest.Options{WebhookURL: hook.URL})
	c := demoClient(sim)
	defer c.Close()

	ctx := context.Background()
	receipt, err := c.SendOTP(ctx, connexus.OTP{To: "+6421234567", Company: "MyApp"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answered:", sim.Reply(ctx, receipt.MessageID, "STOP"))
	// Output:
	// +6421234567 says STOP
	// answered: <nil>
}
