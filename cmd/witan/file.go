package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// configFile is a configuration file as it is read: YAML, or JSON, which is
// YAML, with the names of flags for keys. Null stands for a setting that is
// left alone, as in the sample file of etcd.
type configFile struct {
	table *flagTable
	path  string
	lines map[string]int // where each flag is set
	errs  []error
}

// applyFile sets the flags not given yet from the file. Every fault of it is
// reported, with its line.
func (t *flagTable) applyFile(path string) error {
	f := &configFile{table: t, path: path, lines: map[string]int{}}
	root, err := f.parse()
	if err != nil {
		return err
	}
	if root != nil {
		f.settings(root)
	}
	return errors.Join(f.errs...)
}

// parse returns the file's mapping, nil if the file says nothing.
func (f *configFile) parse() (*yaml.Node, error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.origin(), err)
	}
	var document, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // nothing is said
	} else if err != nil {
		return nil, f.syntaxError(err)
	}
	if err := dec.Decode(&second); err == nil {
		return nil, fmt.Errorf("%s:%d: there is a second document; a configuration file has one", f.path, second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, f.syntaxError(err)
	}
	root := document.Content[0]
	if isNull(root) {
		return nil, nil //nolint:nilnil // nothing is said
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: there are no settings; write NAME: VALUE, one a line", f.path, root.Line)
	}
	return root, nil
}

// syntaxError says where the file stops being YAML.
func (f *configFile) syntaxError(err error) error {
	var at *yaml.LoadError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%d: this is not YAML: %s", f.path, at.Mark.Line, at.Message)
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

// origin names what the file was named by.
func (f *configFile) origin() string {
	if by := f.table.given["config-file"]; by != fromFlag {
		return by
	}
	return "--config-file"
}

// settings applies the keys at the top of the file.
func (f *configFile) settings(root *yaml.Node) {
	blocks := securityBlocks()
	known := []string{"client-transport-security", "peer-transport-security"}
	for _, k := range f.table.known {
		if k.inFile() {
			known = append(known, k.name)
		}
	}
	for key, value := range entries(root) {
		switch k, ok := f.table.lookup(key.Value); {
		case blocks[key.Value] != nil:
			f.block(key.Value, blocks[key.Value], value)
		case key.Value == "config-file" || ok && k.origin == command:
			f.fault(key, "%s cannot be set in a file", key.Value)
		case !ok:
			f.fault(key, "no setting is called %q%s", key.Value, didYouMean(nearest(key.Value, known)))
		default:
			f.setting(k, key, value)
		}
	}
}

// block applies the keys of a block of etcd's for certificates, each of which
// stands for a flag.
func (f *configFile) block(name string, flags map[string]string, block *yaml.Node) {
	if isNull(block) {
		return
	}
	if block.Kind != yaml.MappingNode {
		f.fault(block, "%s is a block of settings; write them below it, one a line", name)
		return
	}
	var known []string
	for key := range flags {
		known = append(known, key)
	}
	for key, value := range entries(block) {
		k, ok := f.table.lookup(flags[key.Value])
		if !ok {
			f.fault(key, "no setting of %s is called %q%s", name, key.Value, didYouMean(nearest(key.Value, known)))
			continue
		}
		f.setting(k, key, value)
	}
}

// setting applies one entry.
func (f *configFile) setting(k knownFlag, key, value *yaml.Node) {
	if first, ok := f.lines[k.name]; ok {
		f.fault(key, "%s is set twice; the first time in line %d", key.Value, first)
		return
	}
	f.lines[k.name] = key.Line
	if isNull(value) {
		return
	}
	text, err := f.text(k, value)
	if err == nil {
		err = f.table.apply(k.name, text, fmt.Sprintf("%s:%d", f.path, key.Line))
	}
	if err != nil {
		f.fault(key, "%s: %w", key.Value, err)
	}
}

// text returns a value as a flag would have it.
func (f *configFile) text(k knownFlag, value *yaml.Node) (string, error) {
	switch {
	case value.Kind == yaml.ScalarNode:
		return value.Value, nil
	case value.Kind != yaml.SequenceNode:
		return "", errors.New("there is a block of settings where a value should be")
	case !f.table.takesList(k):
		return "", errors.New("there is a list where a single value should be")
	}
	var items []string
	for _, item := range value.Content {
		item = target(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			return "", fmt.Errorf("the item in line %d is not a single value", item.Line)
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ","), nil
}

func (f *configFile) fault(at *yaml.Node, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s:%d: "+format, append([]any{f.path, at.Line}, args...)...))
}

// entries yields the keys and values of a mapping.
func entries(mapping *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(target(mapping.Content[i]), target(mapping.Content[i+1])) {
				return
			}
		}
	}
}

// target follows an alias to what it stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// securityBlocks lists the keys of etcd's two blocks for certificates with the
// flags they stand for (contract §5.1).
func securityBlocks() map[string]map[string]string {
	return map[string]map[string]string{
		"client-transport-security": {
			"cert-file":        "cert-file",
			"key-file":         "key-file",
			"ca-file":          "ca-file",
			"trusted-ca-file":  "trusted-ca-file",
			"client-cert-auth": "client-cert-auth",
			"client-cert-file": "client-cert-file",
			"client-key-file":  "client-key-file",
			"crl-file":         "client-crl-file",
			"allowed-hostname": "client-cert-allowed-hostname",
			"auto-tls":         "auto-tls",
		},
		"peer-transport-security": {
			"cert-file":        "peer-cert-file",
			"key-file":         "peer-key-file",
			"ca-file":          "peer-ca-file",
			"trusted-ca-file":  "peer-trusted-ca-file",
			"client-cert-auth": "peer-client-cert-auth",
			"client-cert-file": "peer-client-cert-file",
			"client-key-file":  "peer-client-key-file",
			"crl-file":         "peer-crl-file",
			"allowed-cn":       "peer-cert-allowed-cn",
			"allowed-hostname": "peer-cert-allowed-hostname",
			"auto-tls":         "peer-auto-tls",
		},
	}
}
