package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// operator takes recordings as the real one does: by gRPC over TLS, each chunk verified, then acknowledged. It keeps
// none of them.
type operator struct {
	controlpb.UnimplementedBrokerServer
	server   *grpc.Server
	address  string
	root     []byte
	commands atomic.Int64 // recorded in acknowledged chunks
}

const operatorHost = "localhost"

func newOperator() (*operator, error) {
	authority, err := postgresserver.NewAuthority("the bench's operator")
	if err != nil {
		return nil, err
	}
	certificate, key, err := authority.Issue(operatorHost, operatorHost)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	o := &operator{
		server:  grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}))),
		address: net.JoinHostPort(operatorHost, port), root: authority.PEM,
	}
	controlpb.RegisterBrokerServer(o.server, o)
	go func() { _ = o.server.Serve(listener) }()
	return o, nil
}

// Record implements the broker's part of the protocol.
func (o *operator) Record(s grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
	var (
		chain  record.Verifier
		before int64
	)
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if in := m.GetChunk(); in != nil {
			if err := chain.Add(&record.Chunk{Number: in.GetNumber(), Previous: in.GetPrevious(), Hash: in.GetHash(), Payload: in.GetPayload(), Last: in.GetLast()}); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			total := in.GetCounts().GetCommands()
			o.commands.Add(total - before)
			before = total
		}
		if err := s.Send(&controlpb.RecordResponse{Next: chain.Next(), Recording: "bench"}); err != nil {
			return err
		}
	}
}
