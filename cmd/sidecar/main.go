package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// version is set by the build.
var version = "dev"

const usage = `The sidecar of Chaperone. It is started by the pod that the operator's webhook wrote, not by hand.

usage: sidecar COMMAND

  redirect             program the pod's nftables rules, prove them, and end (needs NET_ADMIN)
  redirect --dry-run   print the rules instead
  run                  proxy the pod's traffic
  ready                end with status 0 once run is ready to judge
  version              print the version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:]))
}

func command(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	log := newLog()
	var err error
	switch args[0] {
	case "redirect":
		err = redirectPod(ctx, log, len(args) > 1 && args[1] == "--dry-run")
	case "run":
		err = run(ctx, log)
	case "ready":
		err = askReady(ctx)
	case "version":
		fmt.Println(version)
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "sidecar: no command %q\n\n%s", args[0], usage)
		return 2
	}
	if err != nil {
		log.Error(err, "The sidecar ends with an error", "command", args[0])
		return 1
	}
	return 0
}

// newLog writes JSON lines to standard error. There is no sampling and nothing is logged per message.
func newLog() logr.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339TimeEncoder
	return zapr.NewLogger(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(os.Stderr), zap.InfoLevel)))
}
