// Package seal proves that the operator's webhook wrote what is ours in a pod. Whoever may create pods can copy
// our containers by name and image; only the webhook can make the seal, and the broker serves no pod without one.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// version of what a seal covers.
const version = "v1"

// label separates seals from anything else that is made with the same key.
const label = "chaperone.dev/v1alpha1 seal\x00"

// covered is what a seal is made over. The namespace is in it because policies are matched there: a sealed pod
// copied to another namespace has no seal.
type covered struct {
	Version        string             `json:"version"`
	Time           int64              `json:"time"`
	Namespace      string             `json:"namespace"`
	ServiceAccount string             `json:"serviceAccount"`
	BoundLabels    string             `json:"boundLabels"`
	Containers     []corev1.Container `json:"containers"`
	Volumes        []corev1.Volume    `json:"volumes"`
}

// Make returns the value of layout.SealAnnotation for the pod as it is now. Without a key it is an error.
func Make(pod *corev1.Pod, key []byte, now time.Time) (string, error) {
	if len(key) == 0 {
		return "", errors.New("sealing the pod: the operator has no key yet")
	}
	mac, err := over(pod, key, now.Unix())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s.%d.%s", version, now.Unix(), mac), nil
}

// Verify returns when the pod was sealed. An error means that the pod has no seal, or that something of ours in it
// was changed since.
func Verify(pod *corev1.Pod, key []byte) (time.Time, error) {
	value, ok := pod.Annotations[layout.SealAnnotation]
	if !ok {
		return time.Time{}, fmt.Errorf("annotation %s is missing", layout.SealAnnotation)
	}
	if len(key) == 0 {
		return time.Time{}, errors.New("checking the seal: the operator has no key yet")
	}
	parts := strings.Split(value, ".")
	if len(parts) != 3 || parts[0] != version {
		return time.Time{}, fmt.Errorf("annotation %s is not a seal of version %s", layout.SealAnnotation, version)
	}
	at, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("annotation %s has no time", layout.SealAnnotation)
	}
	mac, err := over(pod, key, at)
	if err != nil {
		return time.Time{}, err
	}
	if !hmac.Equal([]byte(mac), []byte(parts[2])) {
		return time.Time{}, errors.New("the chaperone containers, their volumes or the bound labels are not as they were injected")
	}
	return time.Unix(at, 0), nil
}

func over(pod *corev1.Pod, key []byte, at int64) (string, error) {
	body, err := json.Marshal(covered{
		Version:        version,
		Time:           at,
		Namespace:      pod.Namespace,
		ServiceAccount: pod.Spec.ServiceAccountName,
		BoundLabels:    pod.Annotations[layout.BoundLabelsAnnotation],
		Containers:     containers(pod),
		Volumes:        volumes(pod),
	})
	if err != nil {
		return "", fmt.Errorf("sealing the pod: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(label))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// containers returns our containers without the fields that the API server and its own plugins may fill in later
// (AlwaysPullImages, LimitRanger) and that give no power over the sidecar.
func containers(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for i := range pod.Spec.InitContainers {
		if !layout.Ours(pod.Spec.InitContainers[i].Name) {
			continue
		}
		c := pod.Spec.InitContainers[i].DeepCopy()
		c.ImagePullPolicy = ""
		c.TerminationMessagePath = ""
		c.TerminationMessagePolicy = ""
		c.Resources = corev1.ResourceRequirements{}
		out = append(out, *c)
	}
	return out
}

func volumes(pod *corev1.Pod) []corev1.Volume {
	var out []corev1.Volume
	for i := range pod.Spec.Volumes {
		if layout.OurVolume(pod.Spec.Volumes[i].Name) {
			out = append(out, pod.Spec.Volumes[i])
		}
	}
	return out
}
