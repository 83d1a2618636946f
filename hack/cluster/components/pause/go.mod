module github.com/chaperone-dev/chaperone/hack/cluster/components/pause

go 1.26.0
