package attacks_test

import _ "github.com/caddy-websms/websms" // the modules that are attacked
