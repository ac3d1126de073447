#!/bin/sh
# Passwords and certificates of compose.yaml, made once: /config/secrets.yaml for the gateway, /secrets/database for
# PostgreSQL, /authority for clients. Remove them all (docker compose down --volumes, and secrets.yaml) to begin anew.
set -eu
umask 077

gateway=65532
postgres=999 # of the official image

chown "$gateway:$gateway" /state /issuer /witness
chmod 700 /state /issuer /witness
if [ -e /config/secrets.yaml ] && [ -e /authority/ca.crt ] && [ -e /secrets/database/tls.key ]; then
    echo "passwords and certificates are there already"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

new_key ca.key
openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=Portcullis compose" -out ca.crt \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"

# certificate NAME ALTERNATIVE-NAMES
certificate() {
    new_key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile "$1.ext" \
        -out "$1.crt" 2>/dev/null
}
certificate gateway "DNS:gateway,DNS:localhost,IP:127.0.0.1"
certificate postgres "DNS:postgres"
for name in superuser readonly app; do
    openssl rand -hex 24 >"$name"
done

# For PostgreSQL.
cp postgres.crt /secrets/database/tls.crt
cp postgres.key /secrets/database/tls.key
cp superuser readonly app /secrets/database/
chown -R "$postgres:$postgres" /secrets/database
chmod 700 /secrets/database

# For clients. The authority's key is gone with this process: nobody makes further certificates.
cp ca.crt /authority/ca.crt
chmod 755 /authority
chmod 644 /authority/ca.crt

# For the gateway.
indented() { sed 's/^/    /' "$1"; }
credentials() { # ROLE LOGIN
    cat <<SECRET
---
apiVersion: v1
kind: Secret
metadata: {name: orders-$1, namespace: shop}
stringData: {username: $2, password: $(cat "$1")}
SECRET
}
{
    cat <<SECRET
# Made by examples/compose/setup.sh. Keep it secret.
apiVersion: v1
kind: ConfigMap
metadata: {name: orders-ca, namespace: shop}
data:
  ca.crt: |
$(indented ca.crt)
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: orders-gateway-tls, namespace: shop}
stringData:
  tls.crt: |
$(indented gateway.crt)
  tls.key: |
$(indented gateway.key)
SECRET
    credentials readonly orders_readonly
    credentials app orders_app
} >secrets.yaml
chown "$gateway:$gateway" secrets.yaml
# Under another name first: the gateway never sees half of it.
cp -p secrets.yaml /config/.secrets.yaml.new
mv /config/.secrets.yaml.new /config/secrets.yaml
echo "made passwords and certificates"
