package connexus

import (
	"context"
	"errors"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Price is the price of one message of one part, in New Zealand dollars. The
// API states it as "required" when it refuses a message for lack of funds. WebSMS may
// change it, so use it for estimates only.
const Price = 0.115

// Balance is the balance of the account.
type Balance struct {
	// Amount is in units of Currency, such as 12.34 for twelve dollars and 34 cents.
	Amount float64
	// Currency is the code of the currency, such as "NZD". It is empty if the reply
	// names none.
	Currency string
}

// Messages returns about how many messages of one part the balance pays for, by [Price].
// ok is false if the balance is in another currency than New Zealand dollars.
func (b Balance) Messages() (n int, ok bool) {
	if b.Currency != "" && b.Currency != "NZD" {
		return 0, false
	}
	// A float64 holds few prices exactly: 11.5/0.115 must be 100.
	return int(math.Floor(math.Min(max(0, b.Amount)/Price+1e-9, math.MaxInt32))), true
}

// String returns the amount with two digits and the currency, such as "12.34 NZD".
func (b Balance) String() string {
	return strings.TrimSpace(strconv.FormatFloat(b.Amount, 'f', 2, 64) + " " + b.Currency)
}

// errNoBalance is the cause of an error if a reply of success has no balance.
var errNoBalance = errors.New("the reply holds no usable balance")

// Balance asks for the balance of the account. It bills nothing. The error is an
// [*Error], and its MaybeAccepted is false. Balance tries again under the rules of
// [Client.SendOTP].
func (c *Client) Balance(ctx context.Context) (Balance, error) {
	var balance Balance
	err := c.call(ctx, EndpointBalance, url.Values{}, func(obj object) *Error {
		var ok bool
		if balance, ok = obj.balance(); !ok {
			return &Error{Kind: KindMalformed, Endpoint: EndpointBalance, Err: errNoBalance}
		}
		return nil
	})
	return balance, err
}

// amount matches an amount as people write it: 12.34, $1,234.50, NZ$12 or 12.34 NZD.
var amount = regexp.MustCompile(`^([A-Z]{0,3}) ?\$? ?(-?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-?\.[0-9]+) ?([A-Z]{3})?$`)

// balance reads the balance in a reply.
func (o object) balance() (Balance, bool) {
	found := amount.FindStringSubmatch(strings.ToUpper(strings.TrimSpace(o.text("balance"))))
	if found == nil {
		return Balance{}, false
	}
	value, err := strconv.ParseFloat(strings.ReplaceAll(found[2], ",", ""), 64)
	if err != nil {
		return Balance{}, false
	}
	currency := strings.ToUpper(strings.TrimSpace(o.text("currency")))
	for _, named := range []string{found[3], found[1]} {
		if currency == "" && len(named) == 3 {
			currency = named
		}
	}
	if !isCurrency(currency) {
		currency = ""
	}
	return Balance{Amount: value, Currency: currency}, true
}

// isCurrency reports whether code has the form of a code of ISO 4217.
func isCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
