package connexus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/caddy-websms/websms/connexus"
)

// A failed send may still arrive. Error.MaybeAccepted says so.
func ExampleClient_SendOTP() {
	// This server stands in for WebSMS. Leave BaseURL out to reach the real one.
	websms := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/auth/token":
			fmt.Fprint(w, `{"access_token":"wst_x","token_type":"Bearer","expires_in":86400}`)
		case "/sms/otp":
			if r.PostFormValue("msgCompany") == "Poor Ltd" {
				fmt.Fprint(w, `{"success":false,"message":"Insufficient funds","required":0.115}`)
				return
			}
			fmt.Fprint(w, `{"status":"success","messageId":"MSG123","code":"482174"}`)
		}
	}))
	defer websms.Close()

	client, err := connexus.New(connexus.Config{
		BaseURL:      websms.URL,
		ClientID:     "cid_abc123",
		ClientSecret: "csk_xyz789",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for _, company := range []string{"MyApp", "Poor Ltd"} {
		receipt, err := client.SendOTP(context.Background(), connexus.OTP{
			To:           "+6421234567",
			Company:      company,
			Comment:      "Valid for 5 minutes.",
			Code:         "482174", // your own code; if it is empty, WebSMS makes one
			WebOTPDomain: "app.example.com",
		})
		var failure *connexus.Error
		switch {
		case err == nil:
			fmt.Println("sent", receipt.MessageID)
		case errors.Is(err, connexus.ErrFunds):
			fmt.Println("top up the account")
		case errors.As(err, &failure) && failure.MaybeAccepted:
			fmt.Println("may arrive: keep the code valid, do not send again")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// sent MSG123
	// top up the account
}

// Delivery reports may come late and out of order, so a state changes only if the new
// one supersedes it.
func ExampleParseEvent() {
	state := connexus.StateUnknown
	for _, body := range []string{
		`{"type":"dlr","messageId":"MSG123","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`,
		`{"type":"dlr","messageId":"MSG123","status":"ACCEPTD","statusCode":"8","timestamp":"1234567880"}`, // late
		`{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
		`{"type":"mms"}`,
		`type=mo`,
	} {
		event, err := connexus.ParseEvent([]byte(body))
		if err != nil {
			fmt.Println(err)
			continue
		}
		switch e := event.(type) {
		case connexus.Report:
			if s := e.State(); s.Supersedes(state) {
				state = s
			}
			fmt.Println(e.MessageID, "reported", e.State(), "and is", state)
		case connexus.Reply:
			fmt.Printf("%s at %s: %q\n", e.MessageID, e.Timestamp, e.Body)
		case connexus.Unknown:
			fmt.Printf("unknown type %q\n", e.Type)
		}
	}
	// Output:
	// MSG123 reported delivered and is delivered
	// MSG123 reported accepted and is delivered
	// MO456 at 2009-02-13 23:31:30 +0000 UTC: "Reply text"
	// unknown type "mms"
	// connexus: invalid payload: the body is not one JSON object
}

// The kind of an error is a stable label for metrics. A sentinel error finds it with
// errors.Is.
func ExampleError() {
	var err error = &connexus.Error{
		Kind:     connexus.KindFunds,
		Endpoint: connexus.EndpointOTP,
		Status:   http.StatusPaymentRequired,
	}
	fmt.Println(err)
	fmt.Println(errors.Is(err, connexus.ErrFunds))
	if failure := (*connexus.Error)(nil); errors.As(err, &failure) {
		fmt.Println(failure.Kind, failure.MaybeAccepted)
	}
	// Output:
	// connexus: /sms/otp: the account is out of funds: top it up at websms.co.nz (HTTP 402)
	// true
	// funds false
}

// A base URL is checked before a configuration is accepted.
func ExampleCheckBaseURL() {
	fmt.Println(connexus.CheckBaseURL("https://websms.co.nz/api/connexus"))
	fmt.Println(connexus.CheckBaseURL("websms.co.nz"))
	// Output:
	// <nil>
	// needs a scheme and a host: write it like https://websms.co.nz/api/connexus
}
