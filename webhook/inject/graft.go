package inject

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// graft carries the change from before to after over to raw, which before was decoded from. A newer API server
// knows fields that this program does not; decoding dropped them, and a patch against raw would take them away from
// the agent's containers without a word.
func graft(raw []byte, before, after any) ([]byte, error) {
	var original any
	if err := json.Unmarshal(raw, &original); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	from, err := tree(before)
	if err != nil {
		return nil, err
	}
	to, err := tree(after)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(grafted(original, from, to))
	if err != nil {
		return nil, fmt.Errorf("writing the object: %w", err)
	}
	return out, nil
}

func tree(object any) (out any, err error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing the object: %w", err)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	return out, nil
}

func grafted(raw, before, after any) any {
	if reflect.DeepEqual(before, after) {
		return raw
	}
	switch to := after.(type) {
	case map[string]any:
		from, ok := before.(map[string]any)
		original, also := raw.(map[string]any)
		if !ok || !also {
			return after
		}
		out := make(map[string]any, len(to))
		for key, value := range original {
			if _, known := from[key]; !known {
				out[key] = value
			}
		}
		for key, value := range to {
			if _, there := original[key]; !there && reflect.DeepEqual(from[key], value) {
				continue // an empty field that encoding adds
			}
			out[key] = grafted(original[key], from[key], value)
		}
		return out
	case []any:
		originals, froms := byName(raw), byName(before)
		out := make([]any, len(to))
		for i, value := range to {
			out[i] = value
			if name, ok := nameOf(value); ok {
				out[i] = grafted(originals[name], froms[name], value)
			}
		}
		return out
	}
	return after
}

// byName indexes a list whose elements have names, as containers, volumes and variables do.
func byName(list any) map[string]any {
	elements, ok := list.([]any)
	if !ok {
		return nil
	}
	out := make(map[string]any, len(elements))
	for _, element := range elements {
		if name, ok := nameOf(element); ok {
			out[name] = element
		}
	}
	return out
}

// nameOf returns an element's name; a volume mount has one too and is told apart by its path.
func nameOf(element any) (string, bool) {
	fields, ok := element.(map[string]any)
	if !ok {
		return "", false
	}
	name, ok := fields["name"].(string)
	if at, mount := fields["mountPath"].(string); mount {
		name += "\x00" + at
	}
	return name, ok
}
