// Command caddy is a Caddy server with the WebSMS gate, its webhook, the Redis store
// and the WebSMS simulator built in. It runs the demo. Build your own server with
// xcaddy instead (see the README).
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-websms/websms"
	_ "github.com/caddy-websms/websms/redisstore"
	_ "github.com/caddy-websms/websms/websmstest"
)

func main() {
	caddycmd.Main()
}
