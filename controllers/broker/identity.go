package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Keys of user.extra in a TokenReview of a token that is bound to a pod (KEP-1205, KEP-4193).
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

const serviceAccountUser = "system:serviceaccount:"

// Identity is the pod that a token belongs to.
type Identity struct {
	Namespace      string
	Pod            string
	UID            types.UID
	ServiceAccount string
}

// Name is the pod's namespace and name.
func (i Identity) Name() types.NamespacedName {
	return types.NamespacedName{Namespace: i.Namespace, Name: i.Pod}
}

// identify reads the pod from a TokenReview's answer.
func identify(review *authenticationv1.TokenReviewStatus) (Identity, error) {
	if !review.Authenticated {
		if review.Error != "" {
			return Identity{}, fmt.Errorf("the token is not valid: %s", review.Error)
		}
		return Identity{}, errors.New("the token is not valid")
	}
	if !slices.Contains(review.Audiences, layout.TokenAudience) {
		return Identity{}, fmt.Errorf("the token is not for audience %s", layout.TokenAudience)
	}
	namespace, account, ok := strings.Cut(strings.TrimPrefix(review.User.Username, serviceAccountUser), ":")
	if !ok || !strings.HasPrefix(review.User.Username, serviceAccountUser) {
		return Identity{}, errors.New("the token is not a service account's")
	}
	name, uid := review.User.Extra[extraPodName], review.User.Extra[extraPodUID]
	if len(name) != 1 || len(uid) != 1 {
		return Identity{}, errors.New("the token is not bound to a pod")
	}
	return Identity{Namespace: namespace, Pod: name[0], UID: types.UID(uid[0]), ServiceAccount: account}, nil
}

type caller struct {
	Identity
	pod *corev1.Pod
	*allowance
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// authenticate says who calls, and refuses a pod that is gone or that the guard would not let in.
func (b *Broker) authenticate(ctx context.Context) (*caller, error) {
	token, err := bearer(ctx)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	id, err := b.reviews.review(ctx, token, address(ctx))
	if err != nil {
		return nil, err
	}
	pod, err := b.live(ctx, id)
	if err != nil {
		return nil, err
	}
	if p, ok := peer.FromContext(ctx); ok {
		b.connections.identified(p.Addr, id.UID)
	}
	b.noteAddress(ctx, pod)
	return &caller{Identity: id, pod: pod, allowance: b.allowances.of(id.UID)}, nil
}

// live returns the pod of the identity if it still runs and is as it was injected.
func (b *Broker) live(ctx context.Context, id Identity) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := b.Client.Get(ctx, id.Name(), pod)
	if err == nil && pod.UID != id.UID || apierrors.IsNotFound(err) {
		// The cache may be behind: a pod's sidecar is up before the watch has said so.
		pod = &corev1.Pod{}
		err = b.Live.Get(ctx, id.Name(), pod)
	}
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.UID != id.UID:
		return nil, status.Errorf(codes.PermissionDenied, "pod %s is gone", id.Name())
	case err != nil:
		b.Log.Error(err, "reading a sidecar's pod", "pod", id.Name())
		return nil, status.Error(codes.Unavailable, "the pod could not be read; try again")
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return nil, status.Errorf(codes.PermissionDenied, "pod %s has ended", id.Name())
	}
	return pod, b.guarded.check(ctx, pod)
}

// noteAddress logs a caller whose address is not its pod's: with address translation between pods and services that
// is normal, so nothing is refused for it.
func (b *Broker) noteAddress(ctx context.Context, pod *corev1.Pod) {
	from := address(ctx)
	if from == "" || len(pod.Status.PodIPs) == 0 {
		return
	}
	for _, ip := range pod.Status.PodIPs {
		if ip.IP == from {
			return
		}
	}
	b.Log.V(1).Info("a sidecar calls from another address than its pod's", "pod", client.ObjectKeyFromObject(pod), "address", from)
}

func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", errors.New("a bearer token is needed")
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", errors.New("a bearer token is needed")
	}
	return token, nil
}

// address is the caller's IP address, "" if it has none.
func address(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return host(p.Addr)
}

func (b *Broker) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c, err := b.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	return next(context.WithValue(ctx, callerKey{}, c), req)
}

func (b *Broker) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	c, err := b.authenticate(s.Context())
	if err != nil {
		return err
	}
	return next(srv, &authenticated{ServerStream: s, ctx: context.WithValue(s.Context(), callerKey{}, c)})
}

type authenticated struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *authenticated) Context() context.Context { return a.ctx }
