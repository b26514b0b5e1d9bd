package redisstore

import (
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// reply is what came of an operation. Its errors are *otp.UnavailableError.
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

// string returns "" for what is not there.
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

// understood makes of an answer of another shape an error of ours.
func understood(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(fmt.Errorf("redis answered what is not understood: %w", err))
}

// verdict returns what attempt.lua answers: if the code was right a number,
// when the challenge was to die; else a list.
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
