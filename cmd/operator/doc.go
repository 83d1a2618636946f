// Command operator is Chaperone's one Deployment: controllers on the leader; webhooks, broker and recordings API on
// every replica.
package main
