package redisstore

import (
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// reply is the outcome of an operation. Its errors are *otp.UnavailableError.
type reply struct {
	result rueidis.RedisResult
	failed error
}

func (r reply) err() error { return r.failed }

func (r reply) strings() ([]string, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	list, err := r.result.AsStrSlice()
	return list, understood(err)
}

// string returns "" if the key or the field does not exist.
func (r reply) string() (string, error) {
	if r.failed != nil {
		return "", r.failed
	}
	text, err := r.result.ToString()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	return text, understood(err)
}

func (r reply) int() (int64, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	n, err := r.result.AsInt64()
	return n, understood(err)
}

// understood returns an *otp.UnavailableError if err says that a reply has an
// unexpected form.
func understood(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(fmt.Errorf("redis gave a reply of an unexpected form: %w", err))
}

// verdict parses a reply of attempt.lua. For a right code, died is when the challenge
// was to die, in microseconds since 1970. Otherwise answer is a list for read.
func (r reply) verdict() (answer []string, died string, err error) {
	if r.failed != nil {
		return nil, "", r.failed
	}
	message, err := r.result.ToMessage()
	if err != nil {
		return nil, "", understood(err)
	}
	if n, err := message.AsInt64(); err == nil {
		return nil, strconv.FormatInt(n, 10), nil
	}
	answer, err = message.AsStrSlice()
	return answer, "", understood(err)
}

func (r reply) list() ([]rueidis.RedisMessage, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	list, err := r.result.ToArray()
	return list, understood(err)
}
