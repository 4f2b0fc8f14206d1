package main

import _ "github.com/hashicorp/consul/api"

func main() {}
