package connexus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// The moment of the developer guide's own examples, step 6.
var guideTime = time.Unix(1234567890, 0).UTC()

func TestParseEvent(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want connexus.Event
	}{
		"the guide's reply": {
			`{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
			connexus.Reply{MessageID: "MO456", From: "+6421234567", To: "shortcode", Body: "Reply text", Timestamp: guideTime},
		},
		"a reply called SMS, with all fields": {
			`{"type":"SMS","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Kia ora 👋",` +
				`"timestamp":1234567890,"encoding":"UCS2","network":"Spark"}`,
			connexus.Reply{MessageID: "MO456", From: "+6421234567", To: "shortcode", Body: "Kia ora 👋",
				Encoding: "UCS2", Network: "Spark", Timestamp: guideTime},
		},
		"a reply in capitals": {`{"type":"MO"}`, connexus.Reply{}},
		"a reply in numbers": {
			`{"type":"mo","messageId":123456789012345678901234567890,"from":6421234567,"to":4321,"body":42,"encoding":7,"network":53001}`,
			connexus.Reply{MessageID: "123456789012345678901234567890", From: "6421234567", To: "4321", Body: "42",
				Encoding: "7", Network: "53001"},
		},
		"a reply of nulls":       {`{"type":"mo","messageId":null,"from":null,"to":null,"body":null,"timestamp":null}`, connexus.Reply{}},
		"a reply of wrong types": {`{"type":"mo","messageId":{},"from":[],"to":true,"body":["x"],"timestamp":{}}`, connexus.Reply{}},
		"a reply not all UTF-8":  {"{\"type\":\"mo\",\"body\":\"a\xffb\\ud800c\"}", connexus.Reply{Body: "a\ufffdb\ufffdc"}},
		"a reply, keys twice":    {`{"type":"dlr","body":"a","body":"b","type":"mo"}`, connexus.Reply{Body: "b"}},
		"a reply, keys by case":  {`{"type":"mo","Type":"dlr","BODY":"a"}`, connexus.Reply{}},
		"a reply with a byte order mark": {
			"\ufeff" + `{"type":"mo","body":"x"}`, connexus.Reply{Body: "x"},
		},

		"the guide's report": {
			`{"type":"dlr","messageId":"MSG123","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`,
			connexus.Report{MessageID: "MSG123", Status: "DELIVRD", StatusCode: 1, HasStatusCode: true, Timestamp: guideTime},
		},
		"a report with the customer's id": {
			`{"type":"DLR","messageId":17,"customerMessageId":18,"status":"BLOCKED","statusCode":-1}`,
			connexus.Report{MessageID: "17", CustomerMessageID: "18", Status: "BLOCKED", StatusCode: -1, HasStatusCode: true},
		},
		"a report, id under another name": {`{"type":"dlr","message_id":"MSG123"}`, connexus.Report{MessageID: "MSG123"}},
		"a report, code a string":         {`{"type":"dlr","statusCode":" 16 "}`, connexus.Report{StatusCode: 16, HasStatusCode: true}},
		"a report, code with a point":     {`{"type":"dlr","statusCode":2.0}`, connexus.Report{StatusCode: 2, HasStatusCode: true}},
		"a report, code zero":             {`{"type":"dlr","statusCode":0}`, connexus.Report{HasStatusCode: true}},
		"a report, code broken":           {`{"type":"dlr","statusCode":1.5}`, connexus.Report{}},
		"a report, code huge":             {`{"type":"dlr","statusCode":18446744073709551617}`, connexus.Report{}},
		"a report, code infinite":         {`{"type":"dlr","statusCode":1e999}`, connexus.Report{}},
		"a report, code null":             {`{"type":"dlr","statusCode":null}`, connexus.Report{}},
		"a report, code a word":           {`{"type":"dlr","statusCode":"DELIVRD"}`, connexus.Report{}},
		"a report, status a number":       {`{"type":"dlr","status":1}`, connexus.Report{Status: "1"}},

		"unknown":       {`{"type":"Mms","messageId":"x"}`, connexus.Unknown{Type: "Mms"}},
		"unknown empty": {`{"type":""}`, connexus.Unknown{}},
		"unknown blank": {`{"type":" mo"}`, connexus.Unknown{Type: " mo"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := connexus.ParseEvent([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got  %#v\nwant %#v", got, test.want)
			}
		})
	}
}

func TestEventType(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"mo"}`:    "mo",
		`{"type":"SMS"}`:   "mo",
		`{"type":"Dlr"}`:   "dlr",
		`{"type":"Mms\n"}`: "Mms\n",
	} {
		if e, err := connexus.ParseEvent([]byte(body)); err != nil || e.EventType() != want {
			t.Errorf("%s: got %q, %v; want %q", body, e.EventType(), err, want)
		}
	}
}

func TestInvalidPayload(t *testing.T) {
	for name, body := range map[string]string{
		"empty":           ``,
		"blank":           ` `,
		"not JSON":        `type=mo`,
		"truncated":       `{"type":"mo"`,
		"null":            `null`,
		"an array":        `[{"type":"mo"}]`,
		"a string":        `"mo"`,
		"a number":        `1`,
		"trailing object": `{"type":"mo"}{"type":"mo"}`,
		"trailing brace":  `{"type":"mo"}}`,
		"no type":         `{"messageId":"x"}`,
		"type null":       `{"type":null}`,
		"type a number":   `{"type":1}`,
		"type an object":  `{"type":{"type":"mo"}}`,
		"type last null":  `{"type":"mo","type":null}`,
		"type by case":    `{"Type":"mo"}`,
		"nested too deep": strings.Repeat(`{"type":`, 20000),
	} {
		t.Run(name, func(t *testing.T) {
			e, err := connexus.ParseEvent([]byte(body))
			if !errors.Is(err, connexus.ErrPayload) || e != nil {
				t.Errorf("got %v, %v; want ErrPayload", e, err)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	milli := guideTime.Add(123 * time.Millisecond)
	for timestamp, want := range map[string]time.Time{
		`1234567890`:                      guideTime,
		`"1234567890"`:                    guideTime,
		`" 1234567890 "`:                  guideTime,
		`1234567890.123`:                  milli,
		`1234567890123`:                   milli,
		`"1234567890123"`:                 milli,
		`1.23456789e9`:                    guideTime,
		`"2009-02-13T23:31:30Z"`:          guideTime,
		`"2009-02-14T12:31:30.123+13:00"`: milli,
		`99999999999`:                     time.Unix(99999999999, 0).UTC(),
		`100000000000`:                    time.UnixMilli(100000000000).UTC(),
		`253402300799999`:                 time.UnixMilli(253402300799999).UTC(),
		`253402300800000`:                 {},
		`0`:                               {},
		`-1234567890`:                     {},
		`-1e300`:                          {},
		`1e300`:                           {},
		`1e999`:                           {},
		`"NaN"`:                           {},
		`"yesterday"`:                     {},
		`"1969-12-31T00:00:00Z"`:          {},
		`""`:                              {},
		`null`:                            {},
		`true`:                            {},
		`[1234567890]`:                    {},
	} {
		e, err := connexus.ParseEvent([]byte(`{"type":"mo","timestamp":` + timestamp + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.(connexus.Reply).Timestamp; got != want {
			t.Errorf("timestamp %s: got %v, want %v", timestamp, got, want)
		}
	}
}
