package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v4"
)

// printConfig shows the settings in effect and what is wrong with them, and
// starts nothing. The settings come first even if they are wrong: seeing where
// each comes from is how to find out why.
func printConfig(c *config, notes []string, stdout, stderr io.Writer) int {
	if err := writeConfig(stdout, c); err != nil {
		return complain(stderr, fmt.Errorf("--print-config: %w", err))
	}
	for _, note := range notes {
		fmt.Fprintf(stderr, "witan: warning: %s\n", note)
	}
	if err := errors.Join(c.validate(), c.validateStart()); err != nil {
		return complain(stderr, err)
	}
	return exitOK
}

// writeConfig writes the settings as a configuration file, each with a comment
// that says where it comes from. It leaves out what does nothing and what has
// no value.
func writeConfig(w io.Writer, c *config) error {
	shown := *c
	t := newFlagTable(&shown)
	file := yaml.Node{Kind: yaml.MappingNode}
	section := ""
	for _, k := range t.known {
		value := t.set.Lookup(k.name).Value
		if k.section == "" || !k.inFile() || value.String() == "" && c.given[k.name] == "" {
			continue
		}
		key := yaml.Node{Kind: yaml.ScalarNode, Value: k.name}
		if k.section != section {
			section = k.section
			key.HeadComment = section
		}
		node, err := yamlValue(value)
		if err != nil {
			return err
		}
		node.LineComment = c.source(k.name)
		file.Content = append(file.Content, &key, node)
	}
	b, err := yaml.Marshal(&file)
	if err != nil {
		return err
	}
	// Only comments begin at the start of a line; give the sections air.
	_, err = w.Write(bytes.ReplaceAll(b, []byte("\n# "), []byte("\n\n# ")))
	return err
}

// yamlValue returns a flag's value with the type it has in YAML. Lists are
// text with commas, as etcd takes them.
func yamlValue(v flag.Value) (*yaml.Node, error) {
	var value any = v.String()
	if g, ok := v.(flag.Getter); ok {
		if _, isTime := g.Get().(time.Duration); !isTime {
			value = g.Get()
		}
	}
	var node yaml.Node
	return &node, node.Encode(value)
}

// source says where the value of a flag comes from.
func (c *config) source(name string) string {
	switch by := c.given[name]; {
	case name == "log-level" && c.Debug:
		return "debug"
	case by != "":
		return by
	case name == "data-dir":
		return "default, from name"
	case name == "initial-cluster":
		return "default, this member alone"
	}
	return "default"
}
