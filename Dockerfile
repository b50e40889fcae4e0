# smartvmd in a container. It works on the host's network, KVM and cgroups, so it needs the host's rights:
#
#   docker build -t smartvmd .
#   docker run -d --name smartvmd --init --stop-timeout 60 --privileged --network host \
#       --device /dev/kvm --device /dev/net/tun \
#       -v smartvm-state:/var/lib/smartvm -v /run/smartvm:/run/smartvm -v /var/lib/smartvm-images:/var/lib/smartvm-images \
#       smartvmd
#   docker exec smartvmd /usr/local/share/smartvm/build-image.sh
#   curl --unix-socket /run/smartvm/api.sock http://localhost/host
#
# VMs run inside the container and end with it, gracefully (--stop-vms). Without /dev/kvm leave its option out: VMs run
# under QEMU's emulation then.

FROM debian:12 AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY deploy/packages.sh /src/deploy/
RUN . /src/deploy/packages.sh && packages_install "${packages_build[@]}"
COPY CMakeLists.txt LICENSE main.c openapi.yaml /src/
COPY api /src/api
COPY core /src/core
COPY db /src/db
COPY host /src/host
COPY keeper /src/keeper
COPY server /src/server
COPY shim /src/shim
COPY worker /src/worker
COPY deploy /src/deploy
RUN cmake -G Ninja -S /src -B /build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSMARTVM_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr/local \
    && DESTDIR=/out cmake --build /build --target install

# On its own, so that a change of the program does not download this again, and what it takes to get it stays behind.
FROM debian:12 AS firecracker
COPY deploy/packages.sh deploy/get-firecracker.sh /src/
RUN bash /src/get-firecracker.sh --dir /out

FROM debian:12-slim
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY deploy/packages.sh deploy/build-image.sh /usr/local/share/smartvm/
COPY deploy/image /usr/local/share/smartvm/image
# apt's lists stay: build-image.sh needs them.
RUN . /usr/local/share/smartvm/packages.sh \
    && packages_install "${packages_libraries[@]}" "${packages_run[@]}" "${packages_image[@]}" "${packages_client[@]}" \
    && apt-get clean
RUN useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin smartvm
COPY --from=firecracker /out/firecracker /out/jailer /usr/local/bin/
COPY --from=build /out/ /
# Fails when a library is missing.
RUN smartvmd --config /etc/smartvm/smartvmd.yaml --check-config && firecracker --version
VOLUME ["/var/lib/smartvm", "/var/lib/smartvm-images"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["curl", "--silent", "--fail", "--unix-socket", "/run/smartvm/api.sock", "http://localhost/readyz"]
ENTRYPOINT ["/usr/local/sbin/smartvmd", "--config", "/etc/smartvm/smartvmd.yaml", "--stop-vms"]
