package main

import "embed"

//go:embed lists
var lists embed.FS
